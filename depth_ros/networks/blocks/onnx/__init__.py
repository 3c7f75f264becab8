"""Graphs of ONNX operators in torch: see `graph`."""
