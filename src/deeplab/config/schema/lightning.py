"""Arguments of ``lightning.Trainer`` that are no keys of ``trainer``."""

MANAGED_ARGUMENTS = {
    "logger": "Choose a logger by its group, as in logger=csv",
    "callbacks": "Choose callbacks by their group, callbacks",
    "max_steps": "Set stage.max_steps",
    "min_steps": "A training has stage.max_steps steps",
    "max_epochs": "A training is one stream of steps: set stage.max_steps",
    "min_epochs": "A training is one stream of steps: set stage.max_steps",
    "limit_train_batches": "Set stage.max_steps for fewer steps, or trainer.overfit_batches for "
    "fewer images",
    "limit_test_batches": "An evaluation measures whole splits: leave it out",
    "limit_predict_batches": "A prediction takes the images that it is given: leave it out",
    "val_check_interval": "Set trainer.num_validations",
    "check_val_every_n_epoch": "Set trainer.num_validations",
    "enable_checkpointing": "A run always has checkpoints; trainer.num_checkpoints says how many",
    "gradient_clip_val": "Set stage.gradient_clip_val",
    "use_distributed_sampler": "The data distributes itself over the devices: leave it out",
    "sync_batchnorm": "Batch norms always see the images of all devices: leave it out",
    "reload_dataloaders_every_n_epochs": "A training is one stream of steps: leave it out",
    "default_root_dir": "Set runs_dir",
    "plugins": "Set trainer.precision, trainer.strategy or trainer.num_nodes",
    "barebones": "Set trainer.num_validations=0 and trainer.enable_progress_bar=false",
    "model_registry": "deeplab export push_to_hub=USER/NAME uploads a run",
}
"""Arguments that are no keys, and what to do instead."""
