"""Build and install robot_agent: with pip into a venv, or as an ament_python package."""

from collections import defaultdict
from pathlib import Path

from setuptools import find_packages, setup

NAME = "robot_agent"
SHARE = Path("share") / NAME
NODES = (
    "arm_guard",
    "camera",
    "policy",
    "recorder",
    "adaptation",
    "sim_world",
    "camera_frames",
    "teleop",
    "xs_emulator",
)


def shared_files(*folders: str) -> list[tuple[str, list[str]]]:
    """Return the files below each folder as (destination below the prefix, files) pairs."""
    files: dict[str, list[str]] = defaultdict(list)
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files[str(SHARE / path.parent)].append(str(path))
    return sorted(files.items())


setup(
    name=NAME,
    version="0.1.0",
    description="A VLA policy on a WidowX 250s arm that improves in the scene it stands in",
    license="Apache-2.0",
    maintainer="robot_agent maintainers",
    maintainer_email="maintainers@robot-agent.example.com",
    python_requires=">=3.11",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "**/*.yaml", "**/*.xml", "assets/**"]},
    # requirements/ names the versions that belong together; pip never installs the robot's ROS.
    install_requires=["setuptools"],
    zip_safe=False,
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (str(SHARE), ["package.xml"]),
        *shared_files("launch", "calibration"),
    ],
    entry_points={
        "console_scripts": [
            f"robot-agent = {NAME}.cli:main",
            *(f"{node} = {NAME}.ros.{node}:main" for node in NODES),
        ]
    },
)
