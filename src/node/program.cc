#include "node/program.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

namespace ember {
namespace {

// Just these, as crun asks for them.
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
// Of Linux 6.3: may be run whatever the machine's default is. Not known to glibc 2.36.
constexpr unsigned kRunnable = 0x10;

UniqueFd empty_memory(const std::string& name) {
  const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  UniqueFd memory(::memfd_create(name.c_str(), flags | kRunnable));
  return memory ? std::move(memory) : UniqueFd(::memfd_create(name.c_str(), flags));
}

bool copy(int from, int to) {
  struct stat status;
  if (::fstat(from, &status) != 0) return false;
  for (off_t left = status.st_size; left > 0;) {
    const ssize_t sent = ::sendfile(to, from, nullptr, static_cast<std::size_t>(left));
    if (sent <= 0) return false;
    left -= sent;
  }
  return true;
}

}  // namespace

Program keep_in_memory(std::string path) {
  Program program{std::move(path)};
  const UniqueFd file(::open(program.path.c_str(), O_RDONLY | O_CLOEXEC));
  UniqueFd memory = empty_memory(program.path.substr(program.path.rfind('/') + 1));
  if (file && memory && copy(file.get(), memory.get()) && ::fchmod(memory.get(), 0500) == 0 &&
      ::fcntl(memory.get(), F_ADD_SEALS, kSeals) == 0) {
    program.sealed = std::make_shared<const UniqueFd>(std::move(memory));
  }
  return program;
}

}  // namespace ember
