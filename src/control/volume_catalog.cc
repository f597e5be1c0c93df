#include "control/volume_catalog.h"

#include <algorithm>

namespace ember {

VolumeVersionRecord Volume::newest() const {
  if (!versions.empty()) return versions.rbegin()->second;
  VolumeVersionRecord none;
  none.volume = record.id;
  none.created = record.created;
  return none;
}

LayerNames split_layers(const std::string& names) {
  LayerNames layers;
  for (std::size_t begin = 0; begin < names.size();) {
    const std::size_t end = std::min(names.find(' ', begin), names.size());
    layers.push_back(names.substr(begin, end - begin));
    begin = end + 1;
  }
  return layers;
}

std::string join_layers(const LayerNames& names) {
  std::string joined;
  for (const std::string& name : names) joined += (joined.empty() ? "" : " ") + name;
  return joined;
}

void VolumeCatalog::restore(const Snapshot& snapshot) {
  for (const VolumeRecord& record : snapshot.volumes) add(record);
  for (const VolumeVersionRecord& version : snapshot.volume_versions) {
    if (Volume* volume = find(version.volume)) volume->versions[version.version] = version;
  }
}

Volume* VolumeCatalog::find(VolumeId id) {
  const auto found = volumes_.find(id);
  return found == volumes_.end() ? nullptr : &found->second;
}

Volume* VolumeCatalog::find(std::string_view name) {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : find(found->second);
}

const Volume* VolumeCatalog::find(std::string_view name) const {
  return const_cast<VolumeCatalog*>(this)->find(name);
}

Error VolumeCatalog::no_such(std::string_view name) {
  const std::string shown(name.substr(0, 64));
  return {ErrorCode::not_found,
          "there is no volume " + shown + "; make it with `ember volume create " + shown + "`"};
}

Result<VolumeVersionRecord> VolumeCatalog::version(std::string_view name,
                                                   std::uint32_t version) const {
  const Volume* volume = find(name);
  if (!volume) return no_such(name);
  if (version == 0) return volume->newest();
  const auto found = volume->versions.find(version);
  if (found != volume->versions.end()) return found->second;
  return {ErrorCode::not_found, "the volume " + volume->name() + " has no version " +
                                    std::to_string(version) +
                                    "; `ember volume history` lists those it has"};
}

Volume& VolumeCatalog::add(const VolumeRecord& record) {
  names_[record.name] = record.id;
  Volume& volume = volumes_[record.id];
  volume.record = record;
  return volume;
}

void VolumeCatalog::remove(VolumeId id) {
  const auto found = volumes_.find(id);
  if (found == volumes_.end()) return;
  names_.erase(found->second.name());
  volumes_.erase(found);
}

void VolumeCatalog::hold(const LayerNames& layers) { held_.insert(layers.begin(), layers.end()); }

void VolumeCatalog::let_go(const LayerNames& layers) {
  for (const std::string& layer : layers) {
    if (const auto found = held_.find(layer); found != held_.end()) held_.erase(found);
  }
}

std::set<std::string> VolumeCatalog::needed_layers() const {
  std::set<std::string> needed(held_.begin(), held_.end());
  for (const auto& [id, volume] : volumes_) {
    for (const auto& [number, version] : volume.versions) {
      const LayerNames layers = split_layers(version.layers);
      needed.insert(layers.begin(), layers.end());
    }
  }
  return needed;
}

JsonValue to_json(const Volume& volume) {
  const VolumeVersionRecord newest = volume.newest();
  return {{"name", volume.name()},
          {"volume_id", volume.record.id.text()},
          {"version", newest.version},
          {"files", newest.files},
          {"bytes", newest.bytes},
          {"ephemeral", volume.record.ephemeral},
          {"created_ms", volume.record.created.whole_ms()},
          {"updated_ms", newest.created.whole_ms()}};
}

std::string VolumeCatalog::list_json() const {
  JsonValue list = JsonValue::array();
  for (const auto& [name, id] : names_) list.push_back(to_json(volumes_.at(id)));
  return dump_json({{"volumes", std::move(list)}});
}

std::string VolumeCatalog::history_json(const Volume& volume) const {
  JsonValue list = JsonValue::array();
  const std::uint32_t newest = volume.newest().version;
  for (const auto& [number, version] : volume.versions) {
    list.push_back({{"version", number},
                    {"created_ms", version.created.whole_ms()},
                    {"message", version.message},
                    {"files", version.files},
                    {"bytes", version.bytes},
                    {"current", number == newest}});
  }
  return dump_json({{"versions", std::move(list)}});
}

}  // namespace ember
