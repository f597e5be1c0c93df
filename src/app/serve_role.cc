#include "app/serve_role.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>

#include "app/data_directory.h"
#include "app/listen_address.h"
#include "app/privileges.h"
#include "app/serve_limits.h"
#include "app/web_place.h"
#include "base/wall_clock.h"
#include "control/clock.h"
#include "control/key_text.h"
#include "control/live_control.h"
#include "control/price_file.h"
#include "gateway/server.h"
#include "gateway/web_server.h"
#include "gateway/webhook_client.h"
#include "node/remote_node.h"
#include "store/store.h"

namespace ember {
namespace {

constexpr std::int64_t kSecondsOfADay = 24 * 60 * 60;

// All that is opened while the process may still have privileges.
struct Opened {
  UniqueFd pid_file, url_file;
  std::string key;
  std::optional<MasterKeyFile> master_key_file;
  PriceBook prices;
  std::vector<IpNetwork> webhooks_allowed;
};

Result<Opened> open_files(const ServeFlags& flags) {
  Opened opened;
  if (auto made = prepare_data_directory(flags.data, Role::serve); !made) {
    return std::move(made).error();
  }
  auto pid_file = take_pid_file(flags.data, Role::serve);
  if (!pid_file) return std::move(pid_file).error();
  opened.pid_file = std::move(*pid_file);
  auto key = read_or_make_key(flags.data, generate_key);
  if (!key) return std::move(key).error();
  opened.key = std::move(*key);
  auto master_key_file = MasterKeyFile::open(flags.data, flags.master_key);
  if (!master_key_file) return std::move(master_key_file).error();
  opened.master_key_file = std::move(*master_key_file);
  auto url_file = open_url_file(flags.data);
  if (!url_file) return std::move(url_file).error();
  opened.url_file = std::move(*url_file);
  auto prices = read_price_file(flags.prices, date_of(wall_clock()));
  if (!prices) return std::move(prices).error().within("price book " + flags.prices);
  opened.prices = std::move(*prices);
  for (const std::string& text : flags.webhooks_allowed) {
    auto network = parse_ip_network(text);
    if (!network) return std::move(network).error().within("--webhooks-allow");
    opened.webhooks_allowed.push_back(*network);
  }
  return opened;
}

LogLimits log_limits(const ServeFlags& flags) {
  LogLimits limits;
  limits.container_bytes = flags.log_container_mib << 20;
  limits.app_bytes = flags.log_app_mib << 20;
  limits.total_bytes = flags.log_total_mib << 20;
  return limits;
}

// The running server: the parts in the order they lean on each other, and the way it ends.
class Serve {
 public:
  Serve(const ServeFlags& flags, Opened opened, std::unique_ptr<Store> store, Snapshot snapshot,
        std::optional<MasterKey> master_key)
      : flags_(flags),
        opened_(std::move(opened)),
        store_(std::move(store)),
        node_(
            make_remote_node(loop_, flags.data + "/node/node.sock", flags.data + "/serve/volumes")),
        webhooks_(make_webhook_client(loop_, {.allowed = opened_.webhooks_allowed})),
        control_({.data = flags.data + "/serve",
                  .version = EMBER_VERSION,
                  .logs = log_limits(flags),
                  .workspace_queue_limit = flags.workspace_queue_limit,
                  .results_kept = Duration::seconds(flags.results_days * kSecondsOfADay),
                  .master_key = std::move(master_key),
                  .webhooks_allowed = opened_.webhooks_allowed},
                 loop_, clock_, *store_, std::move(snapshot), *node_, opened_.prices, *webhooks_),
        signals_(loop_, SIGTERM, SIGINT),
        deadline_(loop_) {}

  Result<> run(const ListenAddress& address) {
    if (auto started = control_.start(); !started) return started;
    ServerOptions options;
    options.address = address.host;
    options.port = address.port;
    options.host_names = flags_.host_names;
    options.wall_clock = wall_clock;
    std::size_t& connections = options.limits.connections;
    descriptors_ = raise_descriptor_limit();
    connections = connections_within(descriptors_, connections);
    auto server = Server::listen(loop_, control_, std::move(options));
    if (!server) return std::move(server).error();
    server_ = std::move(*server);
    const std::string url = address.url(server_->port());
    control_.set_url(url);
    if (auto listening = listen_web(address); !listening) return listening;
    control_.ensure_key(opened_.key, "generated at the first start", [this, url](Result<> known) {
      if (!known) return end(std::move(known).error().within("keep the key"));
      announce(url);
    });
    wait_for_signal();
    loop_.run();
    return std::move(ended_);
  }

 private:
  // Where nobody has said where, any free port is better than none.
  Result<> listen_web(const ListenAddress& api) {
    const auto address = web_address(flags_.web_listen, api);
    if (!address) return address.error();
    WebOptions options;
    options.address = address->host;
    options.port = address->port;
    options.wall_clock = wall_clock;
    std::size_t& connections = options.limits.connections;
    connections = web_connections_within(descriptors_, connections);
    const auto named = web_place(flags_.web_domain, 0);
    if (!named) return named.error();
    options.domain = named->name;
    options.open_rate.per_second = flags_.web_open_rate;
    auto server = WebServer::listen(loop_, control_, options);
    if (!server && flags_.web_listen.empty() && server.error().code == ErrorCode::conflict) {
      spdlog::warn("port {} is in use: web endpoints are at another one", options.port);
      options.port = 0;
      server = WebServer::listen(loop_, control_, options);
    }
    if (!server) return std::move(server).error();
    web_server_ = std::move(*server);
    const auto place = web_place(flags_.web_domain, web_server_->port());
    control_.set_web_origin(place->scheme, place->after_label());
    return Ok{};
  }

  // The URL in the data directory is what clients wait for, so it comes once the key opens the
  // door.
  void announce(const std::string& url) {
    if (auto written = write_url(opened_.url_file, url); !written) {
      return end(std::move(written).error());
    }
    spdlog::info("serving at {}", url);
  }

  void wait_for_signal() {
    signals_.async_wait([this](boost::system::error_code error, int) {
      if (error) return;
      drain();
      signals_.async_wait([this](boost::system::error_code again, int) {
        if (again) return;
        spdlog::warn("a second signal: ending without waiting");
        loop_.stop();
      });
    });
  }

  void drain() {
    spdlog::info("draining: no new calls; at most {} s for those that run", flags_.drain_seconds);
    server_->begin_drain();
    web_server_->begin_drain();
    control_.begin_drain([this] {
      spdlog::info("drained");
      loop_.stop();
    });
    deadline_.expires_after(std::chrono::seconds(flags_.drain_seconds));
    deadline_.async_wait([this](boost::system::error_code error) {
      if (error) return;
      spdlog::warn("not drained in {} s; what still runs is given up", flags_.drain_seconds);
      loop_.stop();
    });
  }

  void end(Error why) {
    ended_ = std::move(why);
    loop_.stop();
  }

  const ServeFlags& flags_;
  Opened opened_;
  boost::asio::io_context loop_{1};
  SystemClock clock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<NodeClient> node_;
  std::unique_ptr<WebhookSender> webhooks_;
  LiveControl control_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<WebServer> web_server_;
  std::size_t descriptors_ = 0;  // that may be open
  boost::asio::signal_set signals_;
  boost::asio::steady_timer deadline_;
  Result<> ended_ = Ok{};
};

}  // namespace

Result<> run_serve_role(ServeFlags flags) {
  spdlog::set_default_logger(spdlog::stderr_logger_st("serve"));
  std::signal(SIGPIPE, SIG_IGN);
  const auto address = parse_listen_address(flags.listen);
  if (!address) return address.error();
  if (auto closed = forbid_core_dumps(); !closed) return closed;
  auto opened = open_files(flags);
  if (!opened) return std::move(opened).error();
  if (auto given_up = give_up_privileges(); !given_up) return given_up;
  if (auto closed = forbid_core_dumps(); !closed) return closed;
  Snapshot snapshot;
  auto store = open_sqlite_store(flags.data + "/serve", snapshot);
  if (!store) return std::move(store).error();
  using Sealed = MasterKeyFile::Sealed;
  const bool nothing_sealed = snapshot.secrets.empty() && snapshot.webhook_secrets.empty();
  auto master_key =
      opened->master_key_file->take(nothing_sealed ? Sealed::nothing : Sealed::something);
  if (!master_key) return std::move(master_key).error();
  Serve serve(flags, std::move(*opened), std::move(*store), std::move(snapshot),
              std::move(*master_key));
  return serve.run(*address);
}

}  // namespace ember
