// The system calls that user code may make: a filter for the kernel, made here once so that no
// container start pays for compiling one. Deny by default: what is not named fails with ENOSYS (so
// that programs fall back as on an older kernel), what is dangerous with EPERM.
#pragma once

#include <linux/filter.h>

#include <string>
#include <vector>

namespace ember {

enum class SystemCalls {
  of_user_code,
  of_containers,  // mounts, roots and namespaces too: for a builder that runs containers itself
};

// A classic BPF program for this machine's architecture.
std::vector<sock_filter> seccomp_program(SystemCalls allowed = SystemCalls::of_user_code);

// The program as crun's annotation run.oci.seccomp_bpf_data takes it.
std::string seccomp_annotation(SystemCalls allowed);

}  // namespace ember
