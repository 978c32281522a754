"""Layouts: locations of images and masks in VOC, COCO, Cityscapes and your own folders."""
