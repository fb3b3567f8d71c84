"""What `bentoml build` packs."""

from __future__ import annotations

import re
import tomllib

from tests.serving.server_process import ROOT

# What trains and reports, and what the service does not load.
_NOT_SERVED = {
    "lightning",
    "matplotlib",
    "mlflow",
    "onnx",
    "onnxscript",
    "optuna",
    "safetensors",
    "scikit-learn",
    "torch",
}


def names(requirements: list[str]) -> dict[str, str]:
    """Return requirements by name, without markers such as that of another system."""
    return {re.split(r"[\[=<>]", one)[0]: one.split(";")[0].strip() for one in requirements}


def test_requirements_of_the_service_when_compared_then_they_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = (ROOT / "serving/requirements.txt").read_text().splitlines()
    served = names([line for line in lines if not line.startswith("#")])
    wanted = names([*project["dependencies"], *extras["redis"], *extras["oidc"]])
    assert served == {name: line for name, line in wanted.items() if name not in _NOT_SERVED}
