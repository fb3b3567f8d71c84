"""The ASGI app: routes, bodies, batches and pages around the engine."""
