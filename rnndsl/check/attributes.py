"""Names that a param or const cannot have, since the generated class already has an attribute of that name.

Written down rather than read off torch.nn.Module, so that checking a program never imports torch; a test holds the two
against each other.
"""

LAYER_ATTRIBUTES = frozenset("""
T_destination add_module apply backend bfloat16 buffers call_super_init children compile cpu cuda double dump_patches eval
extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half initial_state ipu load_state_dict
modules mtia named_buffers named_children named_modules named_parameters parameters parametrizations
register_backward_hook register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ schedule set_extra_state
set_submodule share_memory state_dict step to to_empty train training type xpu zero_grad
""".split())

# Constructor arguments that every generated class has.
CONSTRUCTOR_ARGUMENTS = frozenset(("self", "device", "dtype", "backend", "schedule"))
