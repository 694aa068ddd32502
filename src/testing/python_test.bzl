"""python_test: a test written in Python, run by Debian's interpreter."""

def python_test(name, srcs, main = None, data = [], **kwargs):
    """As py_test, whose launcher in Bazel 4.2 starts with `env python`, which Debian has not.

    Args:
      name: the name of the target.
      srcs: Python files.
      main: the file to run; `name`.py when absent.
      data: what the test needs at run time.
      **kwargs: as for any test.
    """
    main = main or name + ".py"
    native.sh_test(
        name = name,
        srcs = ["//src/testing:python_test.sh"],
        args = ["$(location %s)" % main],
        data = srcs + data,
        **kwargs
    )
