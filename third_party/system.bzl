"""The external repositories that Bazel 4.2 asks for, served from Debian's packages."""

_PROTOBUF_BUILD = """
package(default_visibility = ["//visibility:public"])

sh_binary(
    name = "protoc",
    srcs = ["protoc_bin"],
)

sh_binary(
    name = "grpc_cpp_plugin",
    srcs = ["grpc_cpp_plugin_bin"],
)

cc_library(
    name = "protobuf",
    linkopts = [
        "-lprotobuf",
        "-lpthread",
    ],
)

proto_lang_toolchain(
    name = "cc_toolchain",
    blacklisted_protos = [],
    command_line = "--cpp_out=$(OUT)",
    runtime = ":protobuf",
)
"""

def _system_protobuf_impl(ctx):
    for tool in ["protoc", "grpc_cpp_plugin"]:
        ctx.symlink("/usr/bin/" + tool, tool + "_bin")
    ctx.file("BUILD.bazel", _PROTOBUF_BUILD)

_system_protobuf = repository_rule(implementation = _system_protobuf_impl, local = True)

def system_repositories():
    """Defines every external repository; none is downloaded."""
    native.local_repository(name = "bazel_skylib", path = "/usr/share/bazel/tools/skylib")
    native.local_repository(name = "remote_coverage_tools", path = "third_party/remote_coverage_tools")
    native.local_repository(name = "rules_cc", path = "third_party/rules_cc")
    native.local_repository(name = "rules_java", path = "/usr/share/bazel/rules/java")
    native.local_repository(name = "rules_proto", path = "/usr/share/bazel/rules/proto")
    _system_protobuf(name = "com_google_protobuf")
