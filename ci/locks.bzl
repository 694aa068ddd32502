"""A test that clang finds each use of a guarded member under its lock.

The annotations are those of src/base/mutex.h. gcc, which builds the project, does not know them. So
an aspect has clang look at every source that the test's deps are made of; it writes no code.
"""

_CLANG = "/usr/bin/clang++-14"

_SourcesInfo = provider("The sources that clang has looked at.", fields = {
    "findings": "A depset of files, one a source: the messages of clang, empty if there are none.",
})

def _flags(contexts):
    """The include paths and macros of compilation contexts, as clang takes them."""
    flags = []
    for context in contexts:
        flags += ["-iquote" + path for path in context.quote_includes.to_list()]
        flags += ["-I" + path for path in context.includes.to_list()]
        flags += ["-isystem" + path for path in context.system_includes.to_list()]
        flags += ["-D" + macro for macro in context.defines.to_list()]
    return flags

def _aspect_impl(target, ctx):
    deps = getattr(ctx.rule.attr, "deps", [])
    earlier = [dep[_SourcesInfo].findings for dep in deps if _SourcesInfo in dep]
    if ctx.rule.kind not in ["cc_library", "cc_binary", "cc_test"] or target.label.workspace_name:
        return [_SourcesInfo(findings = depset(transitive = earlier))]
    owners = deps + ([target] if CcInfo in target else [])
    contexts = [owner[CcInfo].compilation_context for owner in owners if CcInfo in owner]
    files = ctx.rule.files.srcs
    findings = []
    for source in [file for file in files if file.extension == "cc"]:
        finding = ctx.actions.declare_file("%s_locks/%s.txt" % (target.label.name, source.basename))
        ctx.actions.run_shell(
            outputs = [finding],
            inputs = depset(files, transitive = [context.headers for context in contexts]),
            # The test reports findings, so that one of them does not end the build of the rest.
            command = 'out=$1; shift; "$@" > "$out" 2>&1 || echo "failed: $2" >> "$out"',
            arguments = [finding.path, _CLANG, source.path, "-fsyntax-only", "-std=c++20"] +
                        ["-Wno-everything", "-Wthread-safety", "-Werror"] + _flags(contexts),
            mnemonic = "CheckLocks",
            progress_message = "Checking locks of %s" % source.short_path,
        )
        findings.append(finding)
    return [_SourcesInfo(findings = depset(findings, transitive = earlier))]

_locks_aspect = aspect(
    implementation = _aspect_impl,
    attr_aspects = ["deps"],
)

def _locks_test_impl(ctx):
    findings = depset(transitive = [dep[_SourcesInfo].findings for dep in ctx.attr.deps])
    planted = ctx.attr.planted[_SourcesInfo].findings
    script = ctx.actions.declare_file(ctx.label.name + ".sh")
    ctx.actions.write(script, is_executable = True, content = """#!/bin/sh
set -eu
cat %s > "$TEST_TMPDIR/planted"
grep -q 'requires holding mutex' "$TEST_TMPDIR/planted" || {
  echo 'the planted fault is not found'
  exit 1
}
cat %s > "$TEST_TMPDIR/findings"
echo '%d sources'
! grep . "$TEST_TMPDIR/findings"
""" % (_paths(planted), _paths(findings), len(findings.to_list())))
    return [DefaultInfo(
        executable = script,
        runfiles = ctx.runfiles(transitive_files = depset(transitive = [findings, planted])),
    )]

def _paths(files):
    return " ".join([file.short_path for file in files.to_list()])

locks_test = rule(
    implementation = _locks_test_impl,
    test = True,
    attrs = {
        "deps": attr.label_list(aspects = [_locks_aspect]),
        # A library with a use without the lock, which has to be found.
        "planted": attr.label(aspects = [_locks_aspect]),
    },
)
