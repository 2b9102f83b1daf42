"""Runs programs without torch, one step at a time or many samples at once.

model = lstmkit.runtime.load("model.safetensors")
session = model.session()
y = session.step(x)                       # one step; the state stays in the session
ys = step_many(sessions, xs)              # one step of each of many sessions, together
"""

from lstmkit.runtime.model import Model, load
from lstmkit.runtime.session import Session, step_many
from lstmkit.runtime.window import WindowSession

__all__ = ["Model", "Session", "WindowSession", "load", "step_many"]
