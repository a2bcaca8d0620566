"""Layers as ONNX models: one of a sequence, one of a step."""
