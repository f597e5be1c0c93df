// `emberd serve`, from its flags to its end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/master_key_file.h"
#include "base/result.h"

namespace ember {

struct ServeFlags {
  std::string data;
  std::string listen = "127.0.0.1:7777";
  std::string web_listen;  // "": where `listen` is, at the next port
  std::string web_domain;  // [SCHEME://]NAME[:PORT]; "": localhost alone
  std::int64_t web_open_rate = 50;
  std::vector<std::string> host_names;
  std::string prices;
  std::int64_t drain_seconds = 30;
  std::int64_t log_container_mib = 16;
  std::int64_t log_app_mib = 256;
  std::int64_t log_total_mib = 1024;
  std::uint32_t workspace_queue_limit = 50'000;
  std::int64_t results_days = 7;
  MasterKeyFlags master_key;
  std::vector<std::string> webhooks_allowed;  // networks
};

// Returns once drained after SIGTERM, or with why it could not start or go on.
Result<> run_serve_role(ServeFlags flags);

}  // namespace ember
