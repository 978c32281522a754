"""Where images and masks lie in VOC, COCO, Cityscapes and in folders of your own."""
