"""A demand network whose answers can be worked out, and alerts, for the tiny release's demand part.

Item n sells Poisson(2 + n) a day; a promotion of p multiplies that by exp(2 p), a planned price changes nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from features.demand.plan_columns import PLANNED_PRICE, PlanColumn, PlanColumns
from features.release import layout

NEARLY_POISSON = 20.0  # log size
PLANNED_DAY = 3  # of item-1's horizon: a promotion of 0.2 at 80, as planned


def write_plans(directory: Path, item_ids: np.ndarray, *, horizon: int) -> None:
    """Write the network and the inputs of some items."""
    target = directory / layout.WHAT_IF
    target.mkdir()
    num_items = len(item_ids)
    plan = np.zeros((num_items, horizon, 3), np.float32)
    plan[:, :, 0] = np.sin(np.arange(horizon))  # the calendar, which stays
    plan[1, PLANNED_DAY, 1:] = np.log1p([80.0, 0.2])
    np.save(target / "level.npy", (2 + np.arange(num_items)).astype(np.float32))
    np.save(target / "horizon_plan.npy", plan)
    pd.DataFrame({"item_id": item_ids}).to_parquet(target / "items.parquet", index=False)
    low = np.full(num_items, 0.1, np.float32)
    low[2] = np.nan  # item-2 was never promoted
    high = np.where(np.isnan(low), np.nan, 0.3).astype(np.float32)
    prices = np.full(num_items, 50, np.float32), np.full(num_items, 100, np.float32)
    PlanColumns(
        columns=(
            PlanColumn(name=PLANNED_PRICE, position=1, low=prices[0], high=prices[1]),
            PlanColumn(name="promotion", position=2, low=low, high=high),
        ),
        patterns=(0, 3),  # nothing, or both
    ).save(target)
    onnx.save(plan_model(horizon), directory / layout.WHAT_IF_MODEL)


def plan_model(horizon: int) -> onnx.ModelProto:
    """One component, whose log mean is log level + 2 x promotion."""
    constants = {
        # The network reads log1p of the promotion: exp(x) - 1 is the promotion again.
        "promotion": np.array([2], np.int64),
        "one": np.float32(1),
        "two": np.float32(2),
        "zero": np.float32(0),
        "size": np.float32(NEARLY_POISSON),
        "axes": np.array([1, 2], np.int64),
        "time": np.array(1, np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["horizon_plan", "promotion"], ["log_promotion"], axis=2),  # [B, H, 1]
        helper.make_node("Exp", ["log_promotion"], ["more"]),
        helper.make_node("Sub", ["more", "one"], ["share"]),
        helper.make_node("Mul", ["share", "two"], ["lift"]),
        helper.make_node("Log", ["level"], ["log_level"]),
        helper.make_node("Unsqueeze", ["log_level", "axes"], ["base"]),
        helper.make_node("Add", ["base", "lift"], ["period_log_mean"]),
        helper.make_node("Exp", ["period_log_mean"], ["mean"]),
        helper.make_node("CumSum", ["mean", "time"], ["total_mean"]),
        helper.make_node("Log", ["total_mean"], ["total_log_mean"]),
        helper.make_node("Mul", ["period_log_mean", "zero"], ["nothing"]),
        *(helper.make_node("Identity", ["nothing"], [f"{of}_log_weight"]) for of in ("period", "total")),
        *(helper.make_node("Add", ["nothing", "size"], [f"{of}_log_size"]) for of in ("period", "total")),
    ]
    inputs = [
        helper.make_tensor_value_info("level", TensorProto.FLOAT, ["B"]),
        helper.make_tensor_value_info("horizon_plan", TensorProto.FLOAT, ["B", horizon, 3]),
    ]
    names = [f"{of}_{name}" for of in ("period", "total") for name in ("log_weight", "log_mean", "log_size")]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", horizon, 1]) for name in names]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "plans", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def write_alerts(path: Path) -> None:
    """Write three alerts of one kind and one of another; nothing needs stock."""
    rows = [("slow_mover", rank, f"item-{rank}", "mark_down", None) for rank in (1, 2, 3)]
    rows.append(("riser", 1, "item-9", "stock_up", 12))
    frame = pd.DataFrame(rows, columns=["kind", "rank", "item_id", "action", "quantity"])
    frame = frame.assign(day=pd.Timestamp("2026-11-21").date(), reason="Because it is so.")
    frame.astype({"quantity": "Int64"}).to_parquet(path, index=False)
