"""Evaluations as pages to look at: pictures and one HTML file, made without torch."""
