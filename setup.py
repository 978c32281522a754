"""Packs ``conf/`` into the package as ``deeplab/conf``; pyproject.toml has everything else."""

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """Adds ``conf/`` to the package, except for an editable install, which reads it in place."""

    def finalize_options(self) -> None:
        """Name the folders as packages, whose files ``package-data`` lists."""
        super().finalize_options()
        if not self.editable_mode:
            groups = [f"deeplab.conf.{group}" for group in find_namespace_packages("conf")]
            self.packages = [*self.packages, "deeplab.conf", *groups]
            self.package_dir = {**self.package_dir, "deeplab.conf": "conf"}


setup(cmdclass={"build_py": BuildWithConf})
