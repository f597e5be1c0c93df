// The processes of a container as the machine's /proc shows them: who they are, what they hold, and
// which of them belong together.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace ember {

using Belongs = std::function<bool(pid_t)>;

// Sends it to every process of the session that belongs; session 0: to none.
void signal_session(pid_t session, const Belongs& belongs, int signal);

// A JSON document {"processes": [{"pid", "user", "state", "started_ms", "cpu_ms",
// "rss_bytes", "threads", "command"}]} of those that belong, by pid: numbers as they are in their
// own namespaces, `root_user` shown as 0.
std::string processes_json(const Belongs& belongs, uid_t root_user);

}  // namespace ember
