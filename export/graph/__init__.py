"""The encoder as an ONNX graph, in each precision."""
