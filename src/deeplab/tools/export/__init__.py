"""Write a trained network as ONNX or a torch.export program, or upload it to a hub."""
