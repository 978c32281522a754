"""Inference strategies and the predictor that runs them."""
