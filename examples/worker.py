"""A worker with a command of each kind: one result, a stream, session state, a long task."""

from snakepit_bridge import InvalidArgument, Worker

worker = Worker("examples")


# The arguments of the call come as keyword arguments.
@worker.command("greet")
def greet(name="world"):
    return {"greeting": f"Hello, {name}!"}


# A generator streams. Each yield sends a chunk, and blocks while the caller is not ready for it.
@worker.command("count")
def count(to):
    yield from range(1, to + 1)


# context.session is a dict that lives from call to call of one session.
@worker.command("add")
def add(context, amount):
    if context.session is None:
        raise InvalidArgument("'add' needs a session")
    context.session["total"] = context.session.get("total", 0) + amount
    return context.session["total"]


# Nothing interrupts a handler, so one that takes long lets go by itself: wait() ends early when the
# caller cancels the call, and check() raises then, or once the deadline has passed.
@worker.command("work")
def work(context, seconds):
    for _ in range(seconds):
        context.wait(1)
        context.check()
    return {"worked": seconds}


if __name__ == "__main__":
    worker.main()
