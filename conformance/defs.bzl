"""worker_conformance_test: a Bazel test that judges a worker."""

def worker_conformance_test(
        name,
        worker,
        transport,
        args = [],
        cases = [],
        codec = "auto",
        data = [],
        expect_version = None,
        size = "medium",
        **kwargs):
    """Judges a worker by conformance/cases. Green if `conformance run` exits with 0.

    Args:
      name: the name of the target.
      worker: the label of the worker: an executable file.
      transport: "stdio" or "grpc".
      args: the worker's own arguments, with `{port}`, `{socket}` and `{worker_id}` as in an
        adapter, and $(location …) as in any test.
      cases: patterns of case ids, such as "str/**"; all cases if empty.
      codec: of stdio: "auto", "json" or "msgpack".
      data: files that the worker needs at run time.
      expect_version: the protocol version that the worker has to agree to; None: any.
      size: of the test.
      **kwargs: as for any test.
    """
    judge = Label("//conformance:conformance")
    run = ["$(rootpath %s)" % judge, "run", "--transport", transport]
    if transport == "stdio":
        run += ["--codec", codec]
    if expect_version != None:
        run += ["--expect-version", str(expect_version)]
    for pattern in cases:
        run += ["--case", "'%s'" % pattern]
    run.append("--")
    native.sh_test(
        name = name,
        size = size,
        srcs = [Label("//conformance:worker_test.sh")],
        args = run + ["$(rootpath %s)" % worker] + args,
        data = [judge, worker] + data,
        **kwargs
    )
