#include "control/volume_mounts.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/disk_error.h"
#include "control/json.h"

namespace ember {
namespace {

constexpr Duration kLookEvery = Duration::seconds(5);
constexpr Duration kRetry = Duration::seconds(5);
constexpr std::size_t kMaxNote = 1 << 20;

std::string uppers_of(ContainerId container) { return "uppers/" + container.text(); }

}  // namespace

std::string VolumeMounts::directory_of(const Mount& mount) const {
  return uppers_of(mount.container) + "/" + std::to_string(mount.number);
}

VolumeMounts::Mount* VolumeMounts::find(const Key& key) {
  const auto found = mounts_.find(key);
  return found == mounts_.end() ? nullptr : &found->second;
}

// --- mounting ---------------------------------------------------------------------------------

Result<std::vector<VolumeOverlay>> VolumeMounts::mount(ContainerId container,
                                                       const std::vector<VolumeMount>& wanted) {
  std::vector<VolumeOverlay> overlays;
  for (const VolumeMount& one : wanted) {
    Mount mount;
    mount.container = container;
    mount.number = overlays.size();
    auto overlay = mount_one(mount, one);
    if (!overlay) {
      ended(container);
      return std::move(overlay).error().within("volume " + one.volume);
    }
    overlays.push_back(std::move(overlay).value());
    add(std::move(mount));
  }
  return overlays;
}

Result<VolumeOverlay> VolumeMounts::mount_one(Mount& mount, const VolumeMount& wanted) {
  if (wanted.volume == kCheckpointsVolume) volumes_.ensure_checkpoints();
  auto version = volumes_.catalog().version(wanted.volume, wanted.version);
  if (!version) return std::move(version).error();
  mount.volume = version->volume;
  mount.volume_name = wanted.volume;
  mount.path = wanted.path;
  mount.sub_path = wanted.sub_path;
  mount.version = wanted.version;
  mount.layers = split_layers(version->layers);
  auto lowers = lowers_of(mount.layers, mount.sub_path);
  if (!lowers) return std::move(lowers).error();
  const int root = volumes_.blobs().root();
  const std::string directory = directory_of(mount);
  const bool writes = wanted.access == VolumeAccess::read_write;
  for (const char* name : {"", "/files", "/work"}) {
    if (*name && !writes) break;
    if (auto made = make_directories(root, directory + name, directory); !made) {
      return std::move(made).error();
    }
  }
  if (writes) {
    mount.upper =
        std::make_shared<VolumeUpper>(volumes_.blobs(), directory, mount.layers, mount.sub_path);
  }
  if (auto written = write_down(mount); !written) return std::move(written).error();
  return VolumeOverlay{wanted.path, *std::move(lowers), writes ? directory : ""};
}

// An overlay takes two at least, and a version may have none.
Result<std::vector<std::string>> VolumeMounts::lowers_of(const LayerNames& layers,
                                                         const std::string& sub_path) const {
  std::vector<std::string> lowers{"empty/a", "empty/b"};
  if (layers.empty()) return lowers;
  auto tree = VolumeTree::open(volumes_.blobs().root(), layers);
  if (!tree) return std::move(tree).error();
  auto node = tree->find(sub_path);
  if (!node) return std::move(node).error();
  if (!*node) return lowers;
  if ((*node)->kind != NodeKind::directory) {
    return {ErrorCode::conflict, "its " + sub_path + " is no directory; mount one that is"};
  }
  const std::vector<std::size_t>& from_the_top = (*node)->layers;
  for (auto one = from_the_top.rbegin(); one != from_the_top.rend(); ++one) {
    const std::string& layer = layers[layers.size() - 1 - *one];
    lowers.push_back(join_path("layers/" + layer, sub_path));
  }
  return lowers;
}

Result<> VolumeMounts::write_down(const Mount& mount) const {
  const std::string note = dump_json({{"volume", mount.volume.text()},
                                      {"name", mount.volume_name},
                                      {"path", mount.path},
                                      {"sub_path", mount.sub_path},
                                      {"version", mount.version},
                                      {"layers", join_layers(mount.layers)},
                                      {"writes", mount.upper != nullptr}});
  const std::string name = directory_of(mount) + "/mount.json";
  const UniqueFd file =
      open_beneath(volumes_.blobs().root(), name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!file) return disk_error(name, errno);
  return write_whole(file.get(), note, 0, name);
}

void VolumeMounts::add(Mount mount) {
  volumes_.catalog().hold(mount.layers);
  const Key key{mount.container, mount.number};
  const bool writes = mount.upper != nullptr;
  mounts_.insert_or_assign(key, std::move(mount));
  if (!writes || looking_) return;
  looking_ = true;
  driver_.after(kLookEvery, [this] { look_now_and_then(); });
}

void VolumeMounts::drop(const Key& key) {
  const auto found = mounts_.find(key);
  if (found == mounts_.end()) return;
  volumes_.catalog().let_go(found->second.layers);
  const std::string directory = directory_of(found->second);
  mounts_.erase(found);
  volumes_.background().run(
      [blobs = &volumes_.blobs(), directory] {
        remove_tree(blobs->root(), directory);
        ::unlinkat(blobs->root(), parent_of(directory).c_str(), AT_REMOVEDIR);
        return 0;
      },
      [](int) {});
}

void VolumeMounts::restore() {
  const int root = volumes_.blobs().root();
  for (const char* name : {"empty/a", "empty/b"}) {
    if (auto made = make_directories(root, name, name); !made) {
      spdlog::error("volumes: {}", made.error().message);
    }
  }
  const auto containers = entries_of(open_to_list(root, "uppers"), "uppers");
  for (std::size_t i = 0; containers && i < containers->size(); ++i) {
    const std::string directory = "uppers/" + (*containers)[i].name;
    const auto numbers = entries_of(open_to_list(root, directory), directory);
    for (std::size_t n = 0; numbers && n < numbers->size(); ++n) {
      restore_one(directory + "/" + (*numbers)[n].name);
    }
  }
}

void VolumeMounts::restore_one(const std::string& directory) {
  const int root = volumes_.blobs().root();
  const UniqueFd file = open_beneath(root, directory + "/mount.json", O_RDONLY);
  auto text = file ? read_range(file.get(), 0, kMaxNote, directory)
                   : Result<std::string>(disk_error(directory, errno));
  const auto note = text ? parse_json(*text, "the mount", kMaxNote) : text.error();
  const JsonValue document = note.ok() ? *note : JsonValue();
  Fields fields(document, "");
  Mount mount;
  const auto container = ContainerId::parse(directory.substr(7, directory.rfind('/') - 7));
  const auto volume = VolumeId::parse(fields.text("volume"));
  mount.number = static_cast<std::size_t>(
      std::strtoul(directory.substr(directory.rfind('/') + 1).c_str(), nullptr, 10));
  mount.volume_name = fields.text("name");
  mount.path = fields.text("path");
  mount.sub_path = fields.text("sub_path");
  mount.version = static_cast<std::uint32_t>(fields.integer_or("version", 0));
  mount.layers = split_layers(fields.text("layers"));
  const bool writes = fields.flag_or("writes", false);
  if (!fields.finish() || !container || !volume) {
    spdlog::warn("{}: left half made, removed", directory);
    return remove_tree(root, directory);
  }
  mount.container = *container;
  mount.volume = *volume;
  if (writes) {
    mount.upper =
        std::make_shared<VolumeUpper>(volumes_.blobs(), directory, mount.layers, mount.sub_path);
  }
  add(std::move(mount));
}

// --- ending -----------------------------------------------------------------------------------

void VolumeMounts::ended(ContainerId container) {
  std::vector<Key> keys;
  for (auto one = mounts_.lower_bound({container, 0});
       one != mounts_.end() && one->first.first == container; ++one) {
    keys.push_back(one->first);
  }
  for (const Key& key : keys) {
    Mount& mount = *find(key);
    if (mount.has_ended) continue;
    mount.has_ended = true;
    if (!mount.upper) {
      drop(key);
    } else if (!mount.busy) {
      look(key, UpperLook::at_the_end);
    }
  }
}

void VolumeMounts::end_all_but(const std::function<bool(ContainerId)>& lives) {
  std::vector<ContainerId> gone;
  for (const auto& [key, mount] : mounts_) {
    if (!mount.has_ended && !lives(key.first)) gone.push_back(key.first);
  }
  for (const ContainerId container : gone) ended(container);
}

bool VolumeMounts::is_settled() const {
  return std::ranges::none_of(
      mounts_, [](const auto& one) { return one.second.has_ended && !one.second.is_stuck; });
}

// --- committing -------------------------------------------------------------------------------

// The newest of that name: one from before a reload has ended, or is about to.
VolumeMounts::Mount* VolumeMounts::find(ContainerId container, std::string_view volume) {
  Mount* found = nullptr;
  for (auto one = mounts_.lower_bound({container, 0});
       one != mounts_.end() && one->first.first == container; ++one) {
    if (one->second.volume_name == volume && !one->second.has_ended) found = &one->second;
  }
  return found;
}

void VolumeMounts::commit(ContainerId container, std::string_view volume, Done done) {
  Mount* mount = find(container, volume);
  if (!mount) {
    return done(
        {ErrorCode::not_found, "no volume " + std::string(volume.substr(0, 64)) +
                                   " is mounted here; name it in volumes= of the function"});
  }
  if (!mount->upper) {
    return done({ErrorCode::conflict, "the volume " + mount->volume_name +
                                          " is mounted read-only here; nothing can be committed"});
  }
  mount->waiting.push_back(std::move(done));
  if (!mount->busy) look({container, mount->number}, UpperLook::asked_for);
}

// --- reloading --------------------------------------------------------------------------------

void VolumeMounts::reload(ContainerId container, std::string_view volume, Done done) {
  const Mount* mount = find(container, volume);
  if (mount && mount->version != 0) {
    return done({ErrorCode::conflict, "the volume " + mount->volume_name +
                                          " is mounted at version " +
                                          std::to_string(mount->version) + " and stays there"});
  }
  if (!mount || mount->upper) {
    const Key key{container, mount ? mount->number : 0};
    return commit(container, volume, [this, key, done](const Result<std::uint32_t>& committed) {
      if (!committed) return done(committed.error());
      remount(key, done);
    });
  }
  remount({container, mount->number}, std::move(done));
}

void VolumeMounts::remount(const Key& key, Done done) {
  const Mount* mount = find(key);
  if (!mount || mount->has_ended) return done({ErrorCode::unavailable, "the container has ended"});
  const auto place = std::pair(key.first, mount->path);
  if (reloads_.contains(place)) {
    return done({ErrorCode::conflict, "the volume is being reloaded already"});
  }
  Mount next;
  next.container = key.first;
  const std::size_t last = std::prev(mounts_.upper_bound({key.first, SIZE_MAX}))->first.second;
  next.number = newest_number_ = std::max(last, newest_number_) + 1;
  const VolumeMount wanted{mount->path, mount->volume_name, 0,
                           mount->upper ? VolumeAccess::read_write : VolumeAccess::read_only,
                           mount->sub_path};
  auto overlay = mount_one(next, wanted);
  if (!overlay) return done(std::move(overlay).error());
  const Key after{key.first, next.number};
  add(std::move(next));
  reloads_[place] = {key, after, std::move(done)};
  node_.remount(key.first, std::move(overlay).value());
}

void VolumeMounts::on_remounted(ContainerId container, const std::string& path,
                                const Result<>& result) {
  const auto found = reloads_.find({container, path});
  if (found == reloads_.end()) return;
  const Reload reload = std::move(found->second);
  reloads_.erase(found);
  Mount* before = find(reload.before);
  const Mount* after = find(reload.after);
  if (!result.ok()) {
    if (after && !after->has_ended) drop(reload.after);
    return reload.done(result.error());
  }
  // What was written between the commit and now goes into a version too.
  if (before && !before->has_ended) {
    before->has_ended = true;
    if (!before->upper) {
      drop(reload.before);
    } else if (!before->busy) {
      look(reload.before, UpperLook::at_the_end);
    }
  }
  reload.done(after ? Result<std::uint32_t>(newest_of(*after))
                    : Error{ErrorCode::unavailable, "the container has ended"});
}

void VolumeMounts::on_node_lost() {
  for (auto& [place, reload] : std::exchange(reloads_, {})) {
    reload.done(Error{ErrorCode::unavailable, "the node's connection broke; reload again"});
  }
}

std::uint32_t VolumeMounts::newest_of(const Mount& mount) {
  const Volume* volume = volumes_.catalog().find(mount.volume);
  return volume ? volume->newest().version : 0;
}

void VolumeMounts::look(const Key& key, UpperLook how) {
  Mount& mount = *find(key);
  mount.busy = true;
  std::vector<Done> done = std::exchange(mount.waiting, {});
  volumes_.background().run([upper = mount.upper, how] { return upper->look(how); },
                            [this, key, done = std::move(done), how](Result<bool> found) mutable {
                              if (!found) return finish(key, done, how, std::move(found).error());
                              if (!*found) return finish(key, done, how, newest_of(*find(key)));
                              publish(key, std::move(done), how);
                            });
}

void VolumeMounts::publish(const Key& key, std::vector<Done> done, UpperLook how) {
  const Mount& mount = *find(key);
  volumes_.publish(
      mount.volume, "commit by " + mount.container.text(), mount.container,
      [upper = mount.upper](LayerBuilder& builder) { return upper->apply(builder); },
      [this, key, done = std::move(done), how](Result<Volumes::Published> published) {
        settle(key, done, how, std::move(published));
      });
}

void VolumeMounts::settle(const Key& key, const std::vector<Done>& done, UpperLook how,
                          Result<Volumes::Published> published) {
  if (!published) return finish(key, done, how, std::move(published).error());
  volumes_.background().run(
      [upper = find(key)->upper] {
        upper->settle();
        return 0;
      },
      [this, key, done, how, version = published->version](int) {
        finish(key, done, how, version);
      });
}

void VolumeMounts::finish(const Key& key, const std::vector<Done>& done, UpperLook how,
                          const Result<std::uint32_t>& result) {
  Mount& mount = *find(key);
  mount.busy = false;
  const bool was_last = how == UpperLook::at_the_end;
  const bool is_gone = volumes_.catalog().find(mount.volume) == nullptr;
  if (!result.ok() && (was_last || done.empty())) {
    spdlog::warn("{}: what it wrote to the volume {} is not committed: {}", key.first.text(),
                 mount.volume_name, result.error().message);
  }
  if (was_last && (result.ok() || is_gone)) {
    drop(key);
  } else if (was_last) {
    mount.busy = mount.is_stuck = true;
    driver_.after(kRetry, [this, key] { look(key, UpperLook::at_the_end); });
  } else if (mount.has_ended) {
    look(key, UpperLook::at_the_end);
  } else if (!mount.waiting.empty()) {
    look(key, UpperLook::asked_for);
  }
  for (const Done& one : done) one(result);
}

void VolumeMounts::look_now_and_then() {
  looking_ = false;
  for (auto& [key, mount] : mounts_) {
    if (!mount.upper || mount.has_ended) continue;
    looking_ = true;
    if (!mount.busy) look(key, UpperLook::now_and_then);
  }
  if (looking_) driver_.after(kLookEvery, [this] { look_now_and_then(); });
}

}  // namespace ember
