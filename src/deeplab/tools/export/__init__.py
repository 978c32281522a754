"""Write a trained network as ONNX, as a torch.export program or to the Hugging Face hub."""
