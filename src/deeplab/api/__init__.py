"""The framework from Python: networks, training, evaluation and prediction in a line each.

Every function can be called in a notebook, in a script or inside of another Hydra application, as
often as one likes. A mistake of the caller is a ``UserError`` with the message of the commands.
"""
