"""Export of trained networks to ONNX, to torch.export programs and to the Hugging Face hub."""
