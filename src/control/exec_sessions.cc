#include "control/exec_sessions.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "control/json.h"

namespace ember {
namespace {

using boost::asio::posix::stream_descriptor;

constexpr std::size_t kMaxTextBytes = 256u << 10;
constexpr std::size_t kReadBytes = 32u << 10;
constexpr std::size_t kTakenStep = kExecWindowBytes / 4;  // is told at the latest
constexpr char kOutput = 1, kErrors = 2;                  // the first byte of what is sent
constexpr std::string_view kEndOfInput = "\x04";          // as a terminal has it

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

std::uint16_t side_of(Fields& fields, const char* name) {
  const std::int64_t value = fields.integer_or(name, 0);
  if (value < 1 || value > 10'000) fields.fail(name, "must be 1 to 10000");
  return static_cast<std::uint16_t>(std::clamp<std::int64_t>(value, 1, 10'000));
}

Result<TerminalSize> read_size(const JsonValue& value, std::string* type) {
  Fields fields(value, "terminal.");
  TerminalSize size{.rows = side_of(fields, "rows"), .columns = side_of(fields, "columns")};
  if (type != nullptr) *type = fields.text_or("type", "dumb");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  return size;
}

Result<ExecSpec> read_start(const JsonValue& document) {
  Fields fields(document, "");
  const JsonValue* command = fields.array("command");
  const JsonValue* terminal = fields.object("terminal");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  ExecSpec spec;
  if (command == nullptr) return invalid("the first message must have a command, a list of texts");
  for (const JsonValue& word : *command) {
    if (!word.is_string()) return invalid("the command must be a list of texts");
    spec.arguments.push_back(word.get<std::string>());
  }
  if (terminal != nullptr) {
    auto size = read_size(*terminal, &spec.terminal_type);
    if (!size) return std::move(size).error();
    spec.terminal = *size;
  }
  if (auto fine = check(spec); !fine) return std::move(fine).error();
  return spec;
}

}  // namespace

class ExecSessions::Session final : public MessageSession {
 public:
  Session(ExecSessions& all, ExecId id, ContainerId container, MessageClient& client)
      : all_(all),
        id_(id),
        container_(container),
        client_(client),
        input_(all.loop_),
        outputs_{Output{kOutput, stream_descriptor(all.loop_), false},
                 Output{kErrors, stream_descriptor(all.loop_), false}} {}

  ~Session() override {
    all_.sessions_.erase(id_);
    if (asked_ && !exit_) all_.node_.end_exec(id_);
  }

  void on_text(std::string_view text) override {
    if (finished_) return;
    auto document = parse_json(text, "the message", kMaxTextBytes);
    if (!document) return fail(document.error());
    if (auto done = asked_ ? control(*document) : begin(*document); !done) fail(done.error());
  }

  void on_bytes(std::string_view bytes) override {
    if (finished_) return;
    if (!asked_) return fail(invalid("the first message must be a text with the command"));
    if (input_over_) return fail(invalid("bytes came after the end of the input"));
    if (waiting_.size() - written_ + untold_ + bytes.size() > kExecWindowBytes) {
      return fail(invalid("more bytes came than the window of 262144 has room for"));
    }
    waiting_.append(bytes);
    write_input();
  }

  void on_stream(ExecStream stream, UniqueFd file) {
    ::fcntl(file.get(), F_SETFL, ::fcntl(file.get(), F_GETFL) | O_NONBLOCK);
    if (stream == ExecStream::terminal) {
      // Two descriptors, as each is waited for on its own.
      UniqueFd again(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
      if (again) input_.assign(again.release());
      is_terminal_ = true;
    }
    if (stream == ExecStream::input) {
      input_.assign(file.release());
    } else {
      Output& output = outputs_[stream == ExecStream::errors ? 1 : 0];
      output.file.assign(file.release());
      read_output(output);
    }
    if (input_.is_open()) write_input();
  }

  void on_ended(Result<ExecExit> exit) {
    exit_ = std::move(exit);
    read_outputs();
    finish_if_done();
  }

 private:
  struct Output {
    char tag;
    stream_descriptor file;
    bool waits = false;
  };

  // --- what the client says ---

  Result<> begin(const JsonValue& document) {
    auto spec = read_start(document);
    if (!spec) return std::move(spec).error();
    asked_ = true;
    all_.node_.exec(id_, container_, *std::move(spec));
    return Ok{};
  }

  Result<> control(const JsonValue& document) {
    Fields fields(document, "");
    const std::int64_t taken = fields.integer_or("taken", 0);
    const bool over = fields.flag_or("end_of_input", false);
    const JsonValue* resize = fields.object("resize");
    if (auto read = fields.finish(); !read) return read;
    if (taken < 0 || static_cast<std::uint64_t>(taken) > kExecWindowBytes - allowed_) {
      return invalid("taken says more than was sent");
    }
    allowed_ += static_cast<std::size_t>(taken);
    if (resize != nullptr) {
      const auto size = read_size(*resize, nullptr);
      if (!size) return size.error();
      const winsize wanted{size->rows, size->columns, 0, 0};
      if (is_terminal_) ::ioctl(input_.native_handle(), TIOCSWINSZ, &wanted);
    }
    if (over && !std::exchange(input_over_, true)) end_input();
    if (taken > 0) read_outputs();
    return Ok{};
  }

  // --- bytes to the process ---

  void end_input() {
    if (is_terminal_) waiting_.append(kEndOfInput);
    write_input();
  }

  void write_input() {
    if (input_gone_) {
      untold_ += waiting_.size() - written_;
      written_ = waiting_.size();
    }
    while (written_ < waiting_.size() && input_.is_open()) {
      const ssize_t count =
          ::write(input_.native_handle(), waiting_.data() + written_, waiting_.size() - written_);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) {
        tell_taken();
        return wait_for_room();
      }
      if (count < 0) close_input();
      const std::size_t gone =
          count < 0 ? waiting_.size() - written_ : static_cast<std::size_t>(count);
      written_ += gone;
      untold_ += gone;
    }
    if (written_ == waiting_.size()) {
      waiting_.clear();
      written_ = 0;
      if (input_over_ && !is_terminal_) close_input();
    }
    tell_taken();
  }

  void wait_for_room() {
    if (std::exchange(waits_for_room_, true)) return;
    input_.async_wait(stream_descriptor::wait_write, [this, alive = alive()](auto error) {
      if (alive.expired()) return;
      waits_for_room_ = false;
      if (!error) write_input();
    });
  }

  // What comes for it from now on goes nowhere, as with a program that reads no more.
  void close_input() {
    input_gone_ = true;
    boost::system::error_code ignored;
    input_.close(ignored);
  }

  void tell_taken() {
    if (untold_ == 0 || (untold_ < kTakenStep && !waiting_.empty())) return;
    say({{"taken", std::exchange(untold_, 0)}});
  }

  // --- bytes from it ---

  void read_outputs() {
    for (Output& output : outputs_) read_output(output);
  }

  // Some of it, and then others have their turn.
  void read_output(Output& output) {
    if (!output.file.is_open() || finished_) return;
    bool more = allowed_ > 0;
    while (more) more = read_once(output) && exit_ && allowed_ > 0;
    if (output.file.is_open() && allowed_ > 0) wait_for_output(output);
    finish_if_done();
  }

  bool read_once(Output& output) {
    std::array<char, kReadBytes + 1> piece;
    piece[0] = output.tag;
    const ssize_t count =
        ::read(output.file.native_handle(), piece.data() + 1, std::min(allowed_, kReadBytes));
    if (count > 0) {
      allowed_ -= static_cast<std::size_t>(count);
      client_.send_bytes({piece.data(), static_cast<std::size_t>(count) + 1});
      return true;
    }
    const bool nothing_yet = count < 0 && (errno == EAGAIN || errno == EINTR);
    if (!nothing_yet || exit_) {
      // At its end; or the process has ended, and what it has left running writes is nobody's.
      boost::system::error_code ignored;
      output.file.close(ignored);
    }
    return false;
  }

  void wait_for_output(Output& output) {
    if (std::exchange(output.waits, true)) return;
    output.file.async_wait(stream_descriptor::wait_read,
                           [this, &output, alive = alive()](auto error) {
                             if (alive.expired()) return;
                             output.waits = false;
                             if (!error) read_output(output);
                           });
  }

  // --- the end ---

  void finish_if_done() {
    const bool drained = !outputs_[0].file.is_open() && !outputs_[1].file.is_open();
    if (!exit_ || !drained || finished_) return;
    if (!exit_->ok()) return fail(exit_->error());
    finished_ = true;
    const ExecExit& exit = **exit_;
    constexpr int kEndedBySignal = 128;
    JsonValue document{{"exit", exit.signal != 0 ? kEndedBySignal + exit.signal : exit.status}};
    if (exit.signal != 0) {
      const Container* container = all_.containers_.find(container_);
      document["signal"] = exit.signal;
      document["container_ended"] = container == nullptr || container->exited;
    }
    say(document);
    client_.end_messages();
  }

  void fail(const Error& error) {
    if (std::exchange(finished_, true)) return;
    say({{"error", {{"code", error_name(error.code)}, {"message", error.message}}}});
    client_.end_messages();
  }

  void say(const JsonValue& document) { client_.send_text(dump_json(document)); }

  std::weak_ptr<int> alive() const { return alive_; }

  ExecSessions& all_;
  const ExecId id_;
  const ContainerId container_;
  MessageClient& client_;
  bool asked_ = false;
  bool finished_ = false;
  bool is_terminal_ = false;
  stream_descriptor input_;  // the terminal, or the process's stdin
  std::string waiting_;      // for the process, of which so much is written
  std::size_t written_ = 0;
  std::size_t untold_ = 0;  // written, and the client not yet told
  bool waits_for_room_ = false;
  bool input_gone_ = false;
  bool input_over_ = false;
  std::array<Output, 2> outputs_;
  std::size_t allowed_ = kExecWindowBytes;  // to be sent to the client
  std::optional<Result<ExecExit>> exit_;
  // Handlers that still sit in the loop ask it whether the session has gone.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

ExecSessions::ExecSessions(boost::asio::io_context& loop, EngineDriver& driver, NodeClient& node,
                           const Containers& containers, IdSource& ids)
    : loop_(loop), driver_(driver), node_(node), containers_(containers), ids_(ids) {}

Result<std::unique_ptr<MessageSession>> ExecSessions::open(ContainerId container,
                                                           MessageClient& client) {
  const Container* found = containers_.find(container);
  if (found == nullptr || found->exited) return Containers::no_such_container(container);
  const ExecId id{ids_.next(driver_.now())};
  auto session = std::make_unique<Session>(*this, id, container, client);
  sessions_[id] = session.get();
  return std::unique_ptr<MessageSession>(std::move(session));
}

void ExecSessions::on_stream(ExecId exec, ExecStream stream, UniqueFd file) {
  const auto found = sessions_.find(exec);
  if (found != sessions_.end()) found->second->on_stream(stream, std::move(file));
}

void ExecSessions::on_ended(ExecId exec, Result<ExecExit> exit) {
  const auto found = sessions_.find(exec);
  if (found != sessions_.end()) found->second->on_ended(std::move(exit));
}

}  // namespace ember
