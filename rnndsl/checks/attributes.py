"""Names that a param or const cannot have, since the generated class already has an attribute of that name.

Written down rather than read off torch.nn.Module, so that checking a program never imports torch; a test holds the two
against each other.
"""

import builtins

from rnndsl.runtime_names import RUNTIME_NAMES

LAYER_ATTRIBUTES = frozenset("""
Output State T_destination __annotations__ __call__ __class__ __deepcopy__ __delattr__ __dict__ __dir__ __doc__
__eq__ __format__ __ge__ __getattr__ __getattribute__ __getstate__ __gt__ __hash__ __init__ __init_subclass__ __le__
__lt__ __module__ __ne__ __new__ __prepare_scriptable__ __reduce__ __reduce_ex__ __repr__ __setattr__ __setstate__ __sizeof__ __str__
__subclasshook__ __weakref__ _apply _as_stored _axes _backend _backward_hooks _backward_pre_hooks _begin _begun _bounds
_buffers _call_impl _called _carried _checked _compiled_call_impl _const _declare
_field _fields _follow _forward _found _forward_hooks _forward_hooks_always_called _forward_hooks_with_kwargs _forward_pre_hooks
_forward_pre_hooks_with_kwargs _get_backward_hooks _get_backward_pre_hooks _get_name _header _header_text _held _hold _hypers _initial
_initial_values _input _inputs _is_full_backward_hook _kernels _kind _load_from_state_dict
_load_state_dict_post_hooks _load_state_dict_pre_hooks _maybe_warn_non_full_backward_hook _modules _named_members
_non_persistent_buffers_set _own_device _own_dtype _order _packed _param _parameters _program _raw _recomputed
_register_load_state_dict_pre_hook _register_state_dict_hook _replicate_for_data_parallel _reports _repr_html_
_repr_latex_ _require_positive _require_rounds _require_slices _run _save_to_state_dict _scan _schedule _see _seen _settings _setup _sizes _slow_forward _solved_for
_state_dict_hooks _state_dict_pre_hooks _states _step_again _step_by_kernel _stored _take _tensors _tiles _tiles_text _valued _version
_wrapped_call_impl _written add_module apply backend bfloat16 buffers call_super_init children compile cpu cuda double
dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half initial_state
ipu load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters
parametrizations plan_for recompute register_backward_hook register_buffer register_forward_hook
register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module register_parameter
register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ reset_parameters schedule set_extra_state set_submodule
share_memory solve_report state_dict step tiles to to_empty train training type xpu zero_grad
""".split())

# Constructor arguments that every generated class has.
CONSTRUCTOR_ARGUMENTS = frozenset(("self", "device", "dtype", "backend", "schedule"))

# Names that a cell cannot have: the generated module, or the runtime that a standalone one holds, uses them at its top level.
MODULE_NAMES = (
    frozenset(dir(builtins))
    | RUNTIME_NAMES
    | frozenset("""
ABC Absent abstractmethod Any as_it_is axes_text Backend backend_for BACKENDS Begun Bounds Call Callable cast_to check_backend check_dense check_draw check_inputs
check_guess check_reset check_schedule check_state check_tiles checkpoint ClassVar constant_in_graphs constrained_param contextlib dataclass default_draw Draw dtype_of_products
dtypes_of_fields F field FIXED functools FunctionType HALF header_text header_value initialise import_module inspect is_alone is_narrower Look looks Mapping MappingProxyType math NamedTuple nn NUMBERS numbers OF_STACKS operator os over_ranks PackedSequence ParamModule parted Plan planned real_of REFERENCE Reference reference_wanted register
replace Results say_once say_schedule scan scanned SCHEDULES Seen Sequence shards_of sized_in_traces Stepped sys Tensor Tensors TILES torch use warnings widened widest widest_dtype with_hints with_own_code without_autocast
""".split())
)
