"""Annotations of labeling tools: outlines and bitmaps, from which label maps are drawn."""
