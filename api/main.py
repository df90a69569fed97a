"""The app; nothing happens when this module is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

    from api.settings import Settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make an app.

    Parameters
    ----------
    settings : Settings, optional
        Default: from the environment.

    Returns
    -------
    FastAPI
        Models are loaded when it is started.
    """
    from fastapi import FastAPI

    import tsimpute
    from api.description import install_description
    from api.errors import install_handlers
    from api.lifecycle import lifespan
    from api.middleware import Boundary
    from api.routes import admin, health, impute, models, page, v2
    from api.service import Service
    from api.settings import Settings

    service = Service(Settings() if settings is None else settings)
    app = FastAPI(
        title="tsimpute",
        summary="Fills the holes of multivariate time series and says how sure it is",
        version=tsimpute.__version__,
        lifespan=lifespan,
        docs_url="/docs" if service.settings.docs_page else None,
        redoc_url=None,
    )
    app.state.service = service
    install_handlers(app)
    app.add_middleware(Boundary, service=service)
    for part in (impute, models, admin, health, v2, page):
        app.include_router(part.router)
    install_description(app)
    return app


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = made = create_app()
    return made
