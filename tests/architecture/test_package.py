"""package.xml names what the code imports, under keys that rosdep knows."""

from xml.etree import ElementTree

import yaml

from tests.architecture.source import ROOT, imported_names, modules

_ROS = {
    "action_msgs", "ament_index_python", "builtin_interfaces", "diagnostic_msgs", "geometry_msgs",
    "interbotix_xs_msgs", "launch", "launch_ros", "lifecycle_msgs", "rcl_interfaces", "rclpy",
    "robot_agent_interfaces", "sensor_msgs", "std_msgs", "std_srvs", "tf2_msgs", "trajectory_msgs",
}  # fmt: skip
_UBUNTU = {
    "PIL": "python3-pil", "cryptography": "python3-cryptography", "cv2": "python3-opencv",
    "numpy": "python3-numpy", "yaml": "python3-yaml",
}  # fmt: skip
_STARTED = {"joy", "realsense2_camera", "spacenav", "ros2launch", "rmw_fastrtps_cpp"}


def _named(kind: str) -> set[str]:
    tree = ElementTree.parse(ROOT / "package.xml").getroot()
    return {str(node.text) for node in tree.findall(kind)}


def _imported() -> set[str]:
    shipped = [*modules(), *modules("launch")]
    return {name.split(".")[0] for module in shipped for _, name in imported_names(module.tree)}


def test_every_ros_package_that_is_imported_is_named():
    missing = (_imported() & _ROS) - _named("exec_depend")
    assert not missing, f"package.xml: add exec_depend of {missing}"


def test_what_ubuntu_packages_is_named_by_its_rosdep_key():
    wanted = {key for name, key in _UBUNTU.items() if name in _imported()}
    assert wanted <= _named("exec_depend"), wanted - _named("exec_depend")


def test_nothing_is_named_that_nobody_knows():
    known = _ROS | set(_UBUNTU.values()) | _STARTED
    assert _named("exec_depend") <= known, _named("exec_depend") - known


def test_the_documents_are_configured_where_the_package_says():
    export = ElementTree.parse(ROOT / "package.xml").getroot().find("export")
    assert export is not None
    name = str(export.findtext("rosdoc2"))
    settings, builders = yaml.safe_load_all((ROOT / name).read_text("utf-8"))
    assert settings["type"] == "rosdoc2 config"
    folder = builders["builders"][0]["sphinx"]["sphinx_sourcedir"]
    assert {path.name for path in (ROOT / folder).iterdir()} >= {"conf.py", "index.rst"}
