"""Sphinx configuration that rosdoc2 extends; docstrings are Google style."""

project = "robot_agent"
author = "robot_agent maintainers"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns: list[str] = []
# Not on a machine that builds documents.
autodoc_mock_imports = [
    "av", "cv2", "interbotix_xs_msgs", "launch", "launch_ros", "mcap", "mcap_ros2", "mujoco",
    "onnxruntime", "pyrealsense2", "rclpy", "robot_agent_interfaces", "safetensors", "tf2_msgs",
    "torch",
]  # fmt: skip
autodoc_typehints = "description"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
