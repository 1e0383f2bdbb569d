"""The names that an exported graph and its folder go by."""

from __future__ import annotations

PROBS, RAW = "probabilities", "uncalibrated"  # the graph's outputs; the second one only where decision.json calibrates
GRAPH, INT8 = "model.onnx", "model-int8.onnx"
RUNTIME = "runtime.json"
