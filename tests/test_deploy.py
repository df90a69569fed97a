"""What docker-compose.yml and deploy/ ask for is what the service has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from api.main import create_app
from api.settings import Settings
from api.telemetry import Metrics

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
PROBES = ("startup", "liveness", "readiness")


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))


@pytest.fixture(scope="module")
def kubernetes():
    texts = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8"))
    return {found["kind"]: found for found in texts}


@pytest.fixture(scope="module")
def pod(kubernetes):
    return kubernetes["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def routes():
    return set(create_app(Settings()).openapi()["paths"])


@pytest.fixture(scope="module")
def panels():
    return json.loads((DEPLOY / "grafana" / "dashboard.json").read_text("utf-8"))["panels"]


def image_user() -> int:
    found = re.search(r"^USER (\d+):", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert found
    return int(found.group(1))


def is_setting(variable: str) -> bool:
    prefix, _, name = variable.partition("_")
    return prefix == "TSIMPUTE" and name.lower() in Settings.model_fields


def test_every_file_that_compose_mounts_is_there(compose) -> None:
    mounted = [v for service in compose["services"].values() for v in service.get("volumes", [])]
    ours = [v.split(":")[0] for v in mounted if v.startswith("./")]
    assert len(ours) == 3
    assert all((ROOT / path).exists() for path in ours)


def test_the_container_of_compose_is_closed_and_has_time_to_drain(compose) -> None:
    service = compose["services"]["tsimpute"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    settings = Settings()
    drain = settings.drain_accept_s + settings.drain_finish_s
    assert int(service["stop_grace_period"].rstrip("s")) > drain
    assert all(is_setting(name) for name in service["environment"])
    (secret,) = service["secrets"]
    assert service["environment"]["TSIMPUTE_KEYS_FILE"] == f"/run/secrets/{secret}"


def test_nothing_of_compose_listens_beyond_this_machine(compose) -> None:
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert len(ports) == 3 and all(port.startswith("127.0.0.1:") for port in ports)


def test_every_image_has_a_version(compose) -> None:
    images = [service["image"] for service in compose["services"].values()]
    assert all(re.search(r":[\w.]+$", image) and "latest" not in image for image in images)


def test_prometheus_asks_the_service_of_compose_and_grafana_asks_prometheus(compose) -> None:
    asked = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    targets = [t for job in asked for part in job["static_configs"] for t in part["targets"]]
    assert targets == [f"tsimpute:{Settings().port}"]
    sources = DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(sources.read_text("utf-8"))["datasources"]
    assert source["url"].removeprefix("http://").split(":")[0] in compose["services"]


def test_the_dashboard_asks_for_metrics_and_labels_that_exist(panels) -> None:
    metrics = Metrics()
    labels = {
        sample: set(metric._labelnames)
        for metric in vars(metrics).values()
        if hasattr(metric, "_labelnames")
        for family in metric.describe()
        for sample in (
            family.name,
            *(f"{family.name}_{end}" for end in ("total", "bucket", "sum", "count")),
        )
    }
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    for expression in asked:
        (name,) = set(re.findall(r"tsimpute_\w+?(?=_sum|_count|[^\w]|$)", expression))
        known = labels[name] | {"le"}
        used = re.findall(r"by \((\w+)\)", expression) + re.findall(r"(\w+)[=!]~", expression)
        assert set(used) <= known, expression


def test_the_dashboard_shows_every_part_of_the_service(panels) -> None:
    """Requests, refusals, times, the queue, batches, cells, models: no metric is left out."""
    shown = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    families = (
        family.name
        for metric in vars(Metrics()).values()
        if hasattr(metric, "describe")
        for family in metric.describe()
    )
    assert [name for name in families if name not in shown] == ["tsimpute_tasks"]


def test_the_dashboard_tells_apart_routes_that_exist(panels, routes) -> None:
    patterns = {
        pattern
        for panel in panels
        for target in panel["targets"]
        for pattern in re.findall(r'route[=!]~"([^"]+)"', target["expr"])
    }
    assert len(patterns) == 2
    for pattern in patterns:
        assert all(
            any(re.fullmatch(part, route) for route in (*routes, "/metrics"))
            for part in pattern.split("|")
        )


def test_panels_have_numbers_of_their_own_and_do_not_overlap(panels) -> None:
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)


def test_probes_ask_routes_that_exist(pod, routes) -> None:
    (container,) = pod["containers"]
    asked = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in PROBES]
    assert set(asked) <= routes
    assert asked[PROBES.index("readiness")] == "/health/ready"
    assert asked[PROBES.index("liveness")] == "/health/live"


def test_the_pod_is_closed_limited_and_has_time_to_drain(pod) -> None:
    (container,) = pod["containers"]
    inside = container["securityContext"]
    assert inside["readOnlyRootFilesystem"] and not inside["allowPrivilegeEscalation"]
    assert inside["capabilities"]["drop"] == ["ALL"]
    assert pod["securityContext"]["runAsUser"] == image_user()
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    settings = Settings()
    drain = settings.drain_accept_s + settings.drain_finish_s
    assert pod["terminationGracePeriodSeconds"] > drain


def test_no_link_of_kubernetes_can_be_taken_for_a_setting(kubernetes, pod) -> None:
    """It would set TSIMPUTE_PORT=tcp://… for a service of this name."""
    assert kubernetes["Service"]["metadata"]["name"] == "tsimpute"
    assert pod["enableServiceLinks"] is False
    (container,) = pod["containers"]
    names = [one["name"] for one in container["env"] if one["name"].startswith("TSIMPUTE_")]
    assert names and all(is_setting(name) for name in names)


def test_the_service_of_kubernetes_reaches_the_port_of_the_pod(kubernetes, pod) -> None:
    (port,) = kubernetes["Service"]["spec"]["ports"]
    (own,) = pod["containers"][0]["ports"]
    assert port["targetPort"] == own["name"] and own["containerPort"] == Settings().port
    labels = kubernetes["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert kubernetes["Service"]["spec"]["selector"].items() <= labels.items()
