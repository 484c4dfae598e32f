"""Models handed to other runtimes: plain transformers and vLLM, ONNX Runtime."""
