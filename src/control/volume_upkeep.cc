// What keeps volumes small: old versions are forgotten, deep trees are merged, what nobody needs
// is removed.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "control/volume_merge.h"
#include "control/volumes.h"

namespace ember {
namespace {

constexpr std::size_t kKeptVersions = 100;
constexpr std::int64_t kMostCounted = 10'000'000;
constexpr Duration kSweepEvery = Duration::seconds(3600);

}  // namespace

bool Volumes::is_pinned(const std::string& volume, std::uint32_t version) const {
  for (const auto& [name, app] : apps_.apps()) {
    for (const FunctionPtr& function : app.all_functions()) {
      for (const VolumeMount& mount : function->spec.volumes) {
        if (mount.volume == volume && mount.version == version) return true;
      }
    }
  }
  return false;
}

// But those that a deployed function names.
void Volumes::forget_old(Volume& volume) {
  Batch batch;
  const std::size_t kept = volume.name() == kCheckpointsVolume ? 1 : kKeptVersions;
  std::size_t left = volume.versions.size();
  for (auto one = volume.versions.begin(); one != volume.versions.end() && left > kept;) {
    if (is_pinned(volume.name(), one->first)) {
      ++one;
      continue;
    }
    batch.push_back(ForgottenVolumeVersion{volume.record.id, one->first});
    one = volume.versions.erase(one);
    --left;
  }
  if (batch.empty()) return;
  store_.apply(std::move(batch), background_.to_loop([](const Result<>& written) {
    if (!written) spdlog::warn("old versions are not forgotten: {}", written.error().message);
  }));
}

void Volumes::merge_if_deep(Volume& volume) {
  const LayerNames layers = split_layers(volume.newest().layers);
  if (volume.merging ||
      plan_merge(std::vector<std::int64_t>(layers.size())).first == layers.size()) {
    return;
  }
  volume.merging = true;
  catalog_.hold(layers);
  background_.run(
      [this, layers] {
        std::vector<std::int64_t> entries;
        for (const std::string& layer : layers) {
          auto counted = count_entries(blobs_.root(), layer, kMostCounted);
          entries.push_back(counted ? *counted : kMostCounted);
        }
        return plan_merge(entries);
      },
      [this, id = volume.record.id, layers](MergePlan plan) { merge(id, layers, plan.first); });
}

void Volumes::merge(VolumeId id, const LayerNames& layers, std::size_t first) {
  const auto middle = layers.begin() + static_cast<std::ptrdiff_t>(first);
  const LayerNames below(layers.begin(), middle), merged(middle, layers.end());
  const std::string layer = next_layer_name();
  catalog_.hold({layer});
  background_.run(
      [this, below, merged, layer] { return merge_layers(blobs_, below, merged, layer); },
      [this, id, layers, below, layer](const Result<>& done) {
        LayerNames after = below;
        after.push_back(layer);
        if (done) {
          replace_layers(id, layers, after);
        } else {
          spdlog::warn("layers of a volume were not merged: {}", done.error().message);
        }
        catalog_.let_go(layers);
        catalog_.let_go({layer});
        if (Volume* volume = catalog_.find(id)) volume->merging = false;
      });
}

// In every version that begins with them: it stays the same tree.
void Volumes::replace_layers(VolumeId id, const LayerNames& before, const LayerNames& after) {
  Volume* volume = catalog_.find(id);
  if (!volume) return;
  Batch batch;
  for (auto& [number, version] : volume->versions) {
    const LayerNames layers = split_layers(version.layers);
    if (layers.size() < before.size() ||
        !std::equal(before.begin(), before.end(), layers.begin())) {
      continue;
    }
    LayerNames changed = after;
    changed.insert(changed.end(), layers.begin() + static_cast<std::ptrdiff_t>(before.size()),
                   layers.end());
    version.layers = join_layers(changed);
    batch.push_back(version);
  }
  if (batch.empty()) return;
  // Until that is on disk a server that starts anew would look for the layers from before.
  catalog_.hold(before);
  store_.apply(std::move(batch), background_.to_loop([this, before](const Result<>& written) {
    if (written) catalog_.let_go(before);
  }));
}

void Volumes::sweep() {
  background_.run(
      [this] {
        std::vector<std::string> names;
        const auto layers = entries_of(open_to_list(blobs_.root(), "layers"), "layers");
        for (std::size_t i = 0; layers && i < layers->size(); ++i) {
          names.push_back((*layers)[i].name);
        }
        return names;
      },
      [this](const std::vector<std::string>& names) {
        const std::set<std::string> needed = catalog_.needed_layers();
        std::vector<std::string> gone;
        std::ranges::copy_if(names, std::back_inserter(gone),
                             [&](const auto& name) { return !needed.contains(name); });
        background_.run(
            [this, gone] {
              for (const std::string& name : gone) remove_tree(blobs_.root(), "layers/" + name);
              blobs_.collect();
              drafts_.collect();
              return gone.size();
            },
            [](std::size_t) {});
      });
}

void Volumes::sweep_again() {
  sweep();
  driver_.after(kSweepEvery, [this] { sweep_again(); });
}

}  // namespace ember
