// ember-runner-floor SCRIPT BODY SECONDS CORE: the bare round trip of a runner, for
// bench/warm_call.py.
//
// Starts the real runner on one core (CORE is "-" for any), drives its function `echo` with one
// input at a time by blocking reads and writes on its Unix socket, and prints the latencies as
// JSON. What a warm call costs above this is what serve adds.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/assert.h"
#include "node/frame.h"
#include "node/unique_fd.h"

namespace {

using namespace ember;
using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "ember-runner-floor: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

UniqueFd listen_at(const std::string& path) {
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  EMBER_ASSERT(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener.get(), 1) != 0) {
    die(path);
  }
  return listener;
}

pid_t start_runner(const std::string& directory, const std::string& source,
                   const std::string& core) {
  const pid_t child = fork();
  if (child != 0) return child;
  setenv("EMBER_RUN_DIR", directory.c_str(), 1);
  setenv("EMBER_SOURCE", source.c_str(), 1);
  if (core == "-") {
    execl("/usr/bin/python3", "python3", "-m", "ember.runner", nullptr);
  } else {
    execl("/usr/bin/taskset", "taskset", "-c", core.c_str(), "/usr/bin/python3", "-m",
          "ember.runner", nullptr);
  }
  die("start the runner");
}

void write_all(int fd, const std::string& bytes) {
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = write(fd, bytes.data() + sent, bytes.size() - sent);
    if (n <= 0) die("write to the runner");
    sent += static_cast<std::size_t>(n);
  }
}

// Reads one frame as a blocking peer would: as much as is there in one call, into one buffer.
FrameHeader read_frame(int fd, std::string& buffer, std::size_t& used) {
  for (;;) {
    if (used >= kFrameHeaderSize) {
      std::array<char, kFrameHeaderSize> bytes;
      std::memcpy(bytes.data(), buffer.data(), bytes.size());
      const auto header = decode(bytes);
      if (!header) die("frame");
      const std::size_t whole = kFrameHeaderSize + header->length;
      if (buffer.size() < whole) buffer.resize(whole);
      if (used >= whole) {
        std::memmove(buffer.data(), buffer.data() + whole, used - whole);
        used -= whole;
        return *header;
      }
    }
    const ssize_t n = read(fd, buffer.data() + used, buffer.size() - used);
    if (n <= 0) die("read from the runner");
    used += static_cast<std::size_t>(n);
  }
}

std::string input_frame(const std::string& body) {
  FrameHeader header;
  header.length = static_cast<std::uint32_t>(8 + body.size());
  header.type = FrameType::input;
  header.format = static_cast<std::uint8_t>(BodyFormat::json);
  header.attempt = 1;
  header.stream = 1;
  const auto bytes = encode(header);
  return std::string(bytes.data(), bytes.size()) + std::string("\1\0\0\0\0\0\0\0", 8) + body;
}

std::vector<std::int64_t> round_trips(int fd, const std::string& body, double seconds) {
  std::string buffer(1 << 20, '\0');
  std::size_t used = 0;
  while (read_frame(fd, buffer, used).type != FrameType::ready) {
  }
  const std::string frame = input_frame(body);
  std::vector<std::int64_t> nanoseconds;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (auto begin = Clock::now(); begin < end;) {
    write_all(fd, frame);
    const FrameType type = read_frame(fd, buffer, used).type;
    if (type != FrameType::result) die("the runner did not answer with a result");
    const auto now = Clock::now();
    nanoseconds.push_back(std::chrono::nanoseconds(now - begin).count());
    begin = now;
  }
  return nanoseconds;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 5) {
    std::fprintf(stderr, "usage: ember-runner-floor SCRIPT BODY SECONDS CORE\n");
    return 2;
  }
  const std::filesystem::path script = std::filesystem::absolute(arguments[1]);
  std::stringstream body;
  body << std::ifstream(arguments[2], std::ios::binary).rdbuf();

  char name[] = "/tmp/ember-floor-XXXXXX";
  const std::string directory = mkdtemp(name);
  const nlohmann::json function = {{"protocol", kRunnerProtocolVersion},
                                   {"container_id", "ct-0000000000001"},
                                   {"app", "bench"},
                                   {"function", "echo"},
                                   {"version", 1},
                                   {"module", script.stem().string()},
                                   {"qualname", "echo"},
                                   {"is_async", true},
                                   {"max_inputs", 32},
                                   {"python_path", nlohmann::json::array()},
                                   {"source", script.parent_path().string()}};
  std::ofstream(directory + "/function.json") << function.dump();
  const UniqueFd listener = listen_at(directory + "/runner.sock");
  const pid_t runner = start_runner(directory, script.parent_path().string(), arguments[4]);
  UniqueFd connection(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection) die("accept");

  auto nanoseconds = round_trips(connection.get(), body.str(), std::atof(arguments[3]));
  kill(runner, SIGKILL);
  waitpid(runner, nullptr, 0);
  std::filesystem::remove_all(directory);

  std::sort(nanoseconds.begin(), nanoseconds.end());
  const auto at = [&](std::size_t percent) {
    return static_cast<double>(nanoseconds[nanoseconds.size() * percent / 100]) / 1000.0;
  };
  std::printf("{\"rps\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n", 1e6 / at(50), at(50),
              at(99));
  return 0;
}
