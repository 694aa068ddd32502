"""Fuzz targets whose corpora are tests as well."""

def fuzz_target(name, srcs, deps = []):
    """Defines a libFuzzer binary, and a test that runs every file of its corpus.

    Args:
      name: of the binary. Its corpus is the folder corpus/<name>; the test is <name>_corpus_test.
      srcs: the sources, which define LLVMFuzzerTestOneInput.
      deps: what they need.
    """
    deps = deps + [":check"]

    # Links only with libFuzzer, which brings main: --config=fuzz.
    native.cc_binary(
        name = name,
        srcs = srcs,
        tags = ["manual"],
        deps = deps,
    )
    native.cc_test(
        name = name + "_corpus_test",
        size = "small",
        srcs = srcs,
        args = [native.package_name() + "/corpus/" + name],
        data = native.glob(["corpus/" + name + "/**"]),
        deps = deps + [":corpus_main"],
    )
