"""The core's sources, for the library and for the simulator's mutations of single files."""

CORE_SOURCES = [
    "breaker.cc",
    "call_queue.cc",
    "core.cc",
    "fault.cc",
    "health_checks.cc",
    "lifecycle.cc",
    "lifecycle_driver.cc",
    "recycler.cc",
    "replacer.cc",
    "roster.cc",
    "router.cc",
    "scheduler.cc",
    "sessions.cc",
    "starter.cc",
    "supervisor.cc",
    "worker_view.cc",
]
