#include "control/volume_changes.h"

#include <algorithm>
#include <set>

#include "control/json.h"

namespace ember {
namespace {

constexpr std::size_t kMaxLine = 16u << 10;
constexpr std::size_t kMaxTarget = 1024;
constexpr std::size_t kMaxMessage = 200;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

// Calls with each line that is not empty, and its number.
template <class Each>
Result<> for_each_line(std::string_view lines, Each each) {
  for (std::size_t number = 1; !lines.empty(); ++number) {
    const auto end = std::min(lines.find('\n'), lines.size());
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    if (line.empty()) continue;
    const std::string where = "line " + std::to_string(number);
    auto document = parse_json(line, where, kMaxLine);
    if (!document) return std::move(document).error();
    if (!document->is_object()) return invalid(where + " is not an object");
    if (Result<> done = each(*document); !done) return std::move(done).error().within(where);
  }
  return Ok{};
}

FileKind kind_of(Fields& fields) {
  return fields.flag_or("program", false) ? FileKind::program : FileKind::plain;
}

// A file that is known by its size and the SHA-256 of its first chunk alone.
Result<> look_for_head(Fields& fields, VolumeBlobs& blobs, std::set<std::string>& maybe) {
  const std::string head = fields.text("head");
  const std::int64_t size_bytes = fields.integer_or("size_bytes", 0);
  if (auto all = fields.finish(); !all) return all;
  if (!is_sha256_hex(head)) return invalid("a head is 64 lower-case hex digits");
  if (blobs.may_have(head, size_bytes)) maybe.insert(head);
  return Ok{};
}

class Changes {
 public:
  Changes(VolumeBlobs& blobs, LayerBuilder& builder) : blobs_(blobs), builder_(builder) {}

  Result<> apply(const JsonValue& change) {
    Fields fields(change, "");
    if (change.contains("put")) return put(fields);
    if (change.contains("link")) return link(fields);
    if (change.contains("directory")) return directory(fields);
    if (change.contains("remove")) return remove(fields);
    if (change.contains("copy")) return copy(fields, "copy");
    if (change.contains("move")) return copy(fields, "move");
    fields.text_or("message", "");
    return fields.finish();
  }

 private:
  Result<> put(Fields& fields) {
    const std::string path = fields.text("put");
    const std::string id = fields.text("id");
    const FileKind kind = kind_of(fields);
    fields.integer_or("size_bytes", 0);
    if (auto read = fields.finish(); !read) return read;
    if (auto room = check_place(path); !room) return room;
    auto file = blobs_.find(id, kind);
    if (!file && file.error().code == ErrorCode::not_found) {
      return {ErrorCode::conflict, "the bytes of " + path + " are not here; put it again"};
    }
    if (!file) return std::move(file).error();
    return builder_.put_file(path, *file);
  }

  Result<> link(Fields& fields) {
    const std::string path = fields.text("link");
    const std::string target = fields.text("target");
    if (auto read = fields.finish(); !read) return read;
    if (auto room = check_place(path); !room) return room;
    if (target.empty() || target.size() > kMaxTarget || target.find('\0') != target.npos) {
      return invalid("target must be a text of 1 to 1024 bytes");
    }
    return builder_.put_link(path, target);
  }

  Result<> directory(Fields& fields) {
    const std::string path = fields.text("directory");
    if (auto read = fields.finish(); !read) return read;
    if (auto fine = check_volume_path(path); !fine) return fine;
    auto node = builder_.below().find(path);
    if (!node) return std::move(node).error();
    if (*node && (*node)->kind != NodeKind::directory) return is_no_directory(path);
    if (auto above = check_parent(path); !above) return above;
    return builder_.put_directory(path);
  }

  Result<> remove(Fields& fields) {
    const std::string path = fields.text("remove");
    const bool recursive = fields.flag_or("recursive", false);
    if (auto read = fields.finish(); !read) return read;
    if (auto fine = check_volume_path(path); !fine) return fine;
    auto node = builder_.below().find(path);
    if (!node) return std::move(node).error();
    if (!*node) return no_such(path);
    if ((*node)->kind == NodeKind::directory && !recursive) {
      return {ErrorCode::conflict, path + " is a directory; remove it with all that is in it: -r"};
    }
    return builder_.remove(path);
  }

  // As cp and mv do: into `to` where that is a directory.
  Result<> copy(Fields& fields, const std::string& verb) {
    const std::string from = fields.text(verb);
    std::string to = fields.text_or("to", "");
    if (auto read = fields.finish(); !read) return read;
    if (auto fine = check_volume_path(from); !fine) return fine;
    const bool into = to.empty() || to.ends_with('/');
    while (to.ends_with('/')) to.pop_back();
    auto node = builder_.below().find(from);
    if (!node) return std::move(node).error();
    if (!*node) return no_such(from);
    auto place = builder_.below().find(to);
    if (!place) return std::move(place).error();
    if (into || (*place && (*place)->kind == NodeKind::directory)) {
      const std::string parent = parent_of(from);
      to = join_path(to, parent.empty() ? from : from.substr(parent.size() + 1));
    }
    if (to == from) return invalid(from + " is there already");
    if (to.starts_with(from + "/")) return invalid(to + " lies within " + from);
    if ((*node)->kind == NodeKind::directory) {
      if (auto fine = check_volume_path(to); !fine) return fine;
      if (auto above = check_parent(to); !above) return above;
    } else if (auto room = check_place(to); !room) {
      return room;
    }
    if (auto copied = builder_.copy(from, to); !copied) return copied;
    return verb == "move" ? builder_.remove(from) : Result<>(Ok{});
  }

  // That a file may come to stand there.
  Result<> check_place(const std::string& path) {
    if (auto fine = check_volume_path(path); !fine) return fine;
    if (auto above = check_parent(path); !above) return above;
    auto node = builder_.below().find(path);
    if (!node) return std::move(node).error();
    if (!*node || (*node)->kind != NodeKind::directory) return Ok{};
    return {ErrorCode::conflict, path + " is a directory; remove it first, or use another name"};
  }

  Result<> check_parent(const std::string& path) {
    for (std::string above = parent_of(path); !above.empty() && above != fine_parent_;
         above = parent_of(above)) {
      auto node = builder_.below().find(above);
      if (!node) return std::move(node).error();
      if (*node && (*node)->kind != NodeKind::directory) return is_no_directory(above);
      if (*node) break;
    }
    fine_parent_ = parent_of(path);
    return Ok{};
  }

  static Result<> is_no_directory(const std::string& path) {
    return {ErrorCode::conflict, path + " is no directory; remove it first, or use another name"};
  }
  static Result<> no_such(const std::string& path) {
    return {ErrorCode::not_found,
            "the volume has no " + path + "; `ember volume ls` shows what it has"};
  }

  VolumeBlobs& blobs_;
  LayerBuilder& builder_;
  std::string fine_parent_;  // looked at before: neighbours come together
};

}  // namespace

Result<> apply_changes(std::string_view lines, VolumeBlobs& blobs, LayerBuilder& builder) {
  Changes changes(blobs, builder);
  return for_each_line(lines, [&](const JsonValue& change) { return changes.apply(change); });
}

Result<std::string> needed_files(std::string_view lines, VolumeBlobs& blobs) {
  std::set<std::string> needed, maybe;
  auto read = for_each_line(lines, [&](const JsonValue& line) -> Result<> {
    Fields fields(line, "");
    if (line.contains("head")) return look_for_head(fields, blobs, maybe);
    const std::string id = fields.text("id");
    const FileKind kind = kind_of(fields);
    if (auto all = fields.finish(); !all) return all;
    auto file = blobs.find(id, kind);
    if (!file && file.error().code != ErrorCode::not_found) return std::move(file).error();
    if (!file) needed.insert(id);
    return Ok{};
  });
  if (!read) return std::move(read).error();
  return dump_json({{"needed", needed}, {"maybe", maybe}});
}

std::string message_of(std::string_view lines) {
  const std::string_view line = lines.substr(0, lines.find('\n'));
  if (line.size() > kMaxLine) return "put";
  const auto document = parse_json(line, "the message", kMaxLine);
  if (!document || !document->is_object() || !document->contains("message")) return "put";
  const JsonValue& message = (*document)["message"];
  if (!message.is_string()) return "put";
  std::string text = message.get<std::string>().substr(0, kMaxMessage);
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

}  // namespace ember
