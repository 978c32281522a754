"""The backbones: one module for each family, with one class derived from ``Backbone``.

To add one, add a module; ``backbone.family`` is its name, and the keyword arguments of the class
are the keys of its configs in ``conf/backbone``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
