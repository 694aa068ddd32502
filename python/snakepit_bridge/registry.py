"""The commands of a worker, and the execution of their calls."""

from types import FunctionType, GeneratorType, MethodType

from . import forked
from .calls import (
    HANDLER_FAILED,
    INVALID_ARGUMENT,
    NO_CHUNK,
    UNIMPLEMENTED,
    CallError,
    Last,
    as_call_error,
    printable,
)

# The most chunks of a streaming command that is called as a unary one.
MAX_COLLECTED_CHUNKS = 10_000

# Flags of a code object: CO_VARKEYWORDS, CO_COROUTINE, CO_ASYNC_GENERATOR.
_VARKEYWORDS, _COROUTINE, _ASYNC_GENERATOR = 0x08, 0x80, 0x200


class Command:
    """One handler and the arguments that it takes."""

    def __init__(self, name, handler):
        if not isinstance(name, str) or not name:
            raise ValueError("the name of a command must be a text that is not empty")
        self.name = name
        self._handler = handler
        parameters, required, takes_any = _parameters(handler)
        self._takes_context = bool(parameters) and parameters[0] == "context"
        if self._takes_context:
            parameters = parameters[1:]
            required = [name for name in required if name != "context"]
        self._parameters = parameters
        self._required = frozenset(required)
        self._accepted = None if takes_any else frozenset(parameters)

    def run(self, args, context):
        """The handler's result, or its generator. Raises CallError if the arguments do not fit."""
        keys = args.keys()
        if not self._required <= keys:
            missing = min(self._required - keys, key=self._parameters.index)
            raise CallError(INVALID_ARGUMENT, f'"{missing}" is missing', did_not_run=True)
        if self._accepted is None:
            unknown = next((key for key in keys if type(key) is not str), None)
        elif keys <= self._accepted:
            unknown = None
        else:
            unknown = next(key for key in keys if key not in self._accepted)
        if unknown is not None:
            raise self._refusal(unknown)
        if self._takes_context:
            context.command = self.name
            return _in_this_process(self._handler, context, **args)
        return _in_this_process(self._handler, **args)

    def _refusal(self, unknown):
        takes = ", ".join(self._parameters) or "no named arguments"
        if self._accepted is None:
            takes += " and any others" if self._parameters else ", but any others"
        return CallError(
            INVALID_ARGUMENT,
            f'{self.name}: unknown argument "{printable(unknown)}"; takes: {takes}',
            did_not_run=True,
        )


def _in_this_process(function, /, *args, **kwargs):
    """The function's result. A child that the function forks is ended at its return."""
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        if forked.is_child:
            forked.leave(error)
        raise
    if forked.is_child:
        forked.leave()
    return result


def _parameters(handler):
    """A handler's (parameter names, required names, True if it takes any others).

    Raises TypeError if it cannot be a handler.
    """
    function = handler.__func__ if isinstance(handler, MethodType) else handler
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        return _inspected_parameters(handler)
    code = function.__code__
    if code.co_flags & (_COROUTINE | _ASYNC_GENERATOR):
        raise TypeError(f"{function.__name__}: a handler cannot be asynchronous")
    positional = list(code.co_varnames[: code.co_argcount])
    positional_only = code.co_posonlyargcount
    if isinstance(handler, MethodType):
        positional.pop(0)
        positional_only -= 1
    if any(name != "context" for name in positional[: max(0, positional_only)]):
        raise TypeError(
            f"{function.__name__}: arguments are passed by name; only `context` may be"
            " positional-only"
        )
    keyword = list(code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount])
    required = positional[: len(positional) - len(function.__defaults__ or ())]
    required += [n for n in keyword if n not in (function.__kwdefaults__ or {})]
    return positional + keyword, required, bool(code.co_flags & _VARKEYWORDS)


def _inspected_parameters(handler):
    # Imported here, since it takes 9 ms and few handlers are not plain functions.
    import inspect

    if inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler):
        raise TypeError(f"{handler!r}: a handler cannot be asynchronous")
    names, required, takes_any = [], [], False
    for parameter in inspect.signature(handler).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            names.append(parameter.name)
            if parameter.default is parameter.empty:
                required.append(parameter.name)
    return names, required, takes_any


class Registry:
    """Commands by name. Thread-safe once all commands are added."""

    def __init__(self):
        self._commands = {}

    def add(self, name, handler):
        """Adds a command, or replaces the one of that name. Raises ValueError or TypeError."""
        self._commands[name] = Command(name, handler)

    def names(self):
        """The names of all commands, sorted."""
        return sorted(self._commands)

    def call(self, name, args, context):
        """The result of a command; {"chunks": [...]} of a streaming one.

        Raises CallError and nothing else. The code is CANCELLED or DEADLINE_EXCEEDED also if the
        handler returns after that.
        """
        try:
            context.check()
        except Exception as error:
            raise _did_not_run(error) from None
        try:
            command = self._commands.get(name) or self._unknown(name)
            result = command.run(args, context)
            if type(result) is GeneratorType:
                return {"chunks": _collect(name, result, context)}
            context.check()
            return result
        except BaseException as error:
            raise as_call_error(error) from None

    def stream(self, name, args, context):
        """Yields (chunk, final) pairs; exactly the last pair is final.

        The last chunk is NO_CHUNK if the handler ended without Last. A command that does not
        stream gives its result as the only chunk. Raises CallError and nothing else. Once the
        call is cancelled or its deadline has passed, that is CANCELLED or DEADLINE_EXCEEDED in
        place of any further chunk. Closing this generator closes the handler's generator.
        """
        try:
            context.check()
        except Exception as error:
            raise _did_not_run(error) from None
        try:
            command = self._commands.get(name) or self._unknown(name)
            result = command.run(args, context)
            if type(result) is not GeneratorType:
                context.check()
        except BaseException as error:
            raise as_call_error(error) from None
        if type(result) is not GeneratorType:
            yield result, True
            return
        try:
            final = False
            while not final:
                chunk, final = _next(result, context)
                if final:
                    _close(result)
                yield chunk, final
        finally:
            _close(result)

    def _unknown(self, name):
        raise CallError(
            UNIMPLEMENTED,
            f"Unknown command: {printable(name)};"
            f" supported commands: {', '.join(self.names())}",
            did_not_run=True,
        )


def _did_not_run(error):
    """The CallError for a call that has ended before its handler was called."""
    reason = as_call_error(error)
    reason.did_not_run = True
    return reason


def _next(generator, context):
    try:
        context.check()
        try:
            chunk = _in_this_process(next, generator)
        except StopIteration:
            chunk = Last(NO_CHUNK)
        # Checked at the end, too: a handler that returns since it was cancelled is incomplete.
        context.check()
    except BaseException as error:
        raise as_call_error(error) from None
    if type(chunk) is Last:
        return chunk.chunk, True
    return chunk, False


def _collect(name, generator, context):
    chunks = []
    try:
        while True:
            chunk, final = _next(generator, context)
            if chunk is not NO_CHUNK:
                if len(chunks) == MAX_COLLECTED_CHUNKS:
                    raise CallError(
                        HANDLER_FAILED,
                        f"{name}: more than {MAX_COLLECTED_CHUNKS} chunks; call it as" " a stream",
                    )
                chunks.append(chunk)
            if final:
                return chunks
    finally:
        _close(generator)


def _close(generator):
    # The outcome of the call is settled, so an error of the clean-up goes to stderr alone.
    try:
        _in_this_process(generator.close)
    except BaseException as error:
        as_call_error(error)
