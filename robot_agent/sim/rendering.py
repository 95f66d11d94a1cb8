"""A MuJoCo renderer that outlives its model."""

import os
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")
import mujoco


def adopt(renderer: Any, model: Any) -> None:
    """Let `renderer` draw `model` from now on, with its textures and its quality.

    A renderer of its own would give the same pictures, but a GL context costs 20 times as much as
    handing a model to one that is there.
    """
    renderer._gl_context.make_current()
    renderer._mjr_context.free()
    context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150.value)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
    context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
    renderer._mjr_context, renderer._model = context, model
    renderer._scene = mujoco.MjvScene(model=model, maxgeom=renderer.scene.maxgeom)


def choose_effects(renderer: Any, *, shadows: bool) -> None:
    """Draw shadows or not, and never reflections."""
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = int(shadows)
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
