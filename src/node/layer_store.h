// The layers of images on this node's disk. A layer is named by the digest of its step and all
// before it, built once, and never changed:
//
//   layers/la-…/files/      what an overlay lays over the layers below (a step that changes files)
//   layers/la-…/packages/   Python packages, beside the root (uv_pip_install)
//   layers/la-…/layer.json  LayerFacts; touched when the layer is used
//   layers/la-…/log         what its build wrote
//   layers/la-….part/       on its way; swept at the node's start
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/environment.h"
#include "model/image.h"
#include "node/built_image.h"
#include "node/process_table.h"

namespace ember {

// What is known of an image up to a layer.
struct LayerFacts {
  std::string title;                         // "step 2 (apt_install ffmpeg)"
  std::string python, python_version, libc;  // "/usr/bin/python3", "3.11", "glibc 2.36"
  Environment env;                           // that the base brings
  std::string working_directory;             // the same
  std::int64_t bytes = 0;                    // of this layer on disk
  Time built;
  Duration took;
};

// A step's place in its image: 0 is the base, n the nth step.
struct LayerPlace {
  const ImageStep& step;
  std::string name;   // "la-…"
  std::string title;  // for people
};
// Those that have a layer, the lowest first: all but the base `host` and settings.
std::vector<LayerPlace> layer_places(const ImageSpec& spec);

class LayerStore {
 public:
  // Sweeps what an earlier life left half built.
  explicit LayerStore(const std::string& node_directory);

  std::string path_of(const std::string& layer) const { return layers_ + "/" + layer; }
  std::string part_of(const std::string& layer) const { return layers_ + "/" + layer + ".part"; }
  bool has(const std::string& layer) const;
  std::optional<LayerFacts> facts(const std::string& layer) const;

  // The image, if all its layers are here; they count as used now.
  std::optional<BuiltImage> find(const ImageSpec& spec) const;
  // What a step of the image stands on: the part of the image before the layer of that name, or all
  // of it where it has none of that name.
  struct Below {
    LayerFacts facts;
    BuiltImage image;
  };
  Below below(const ImageSpec& spec, const std::string& layer) const;

  // The process that makes a part whole and durable; then publish() is one rename.
  Command seal(const std::string& layer, const LayerFacts& facts) const;
  Result<> publish(const std::string& layer) const;
  // Gives a directory of layers another name, under which nobody finds it and the next start sweeps
  // it; empty if it is not there. Removing it is the caller's business, since that may take long.
  std::string take_away(const std::string& directory) const;

  // Images that were built here, kept in <node_directory>/images.
  Result<> remember(const ImageSpec& spec) const;
  std::vector<ImageSpec> images() const;  // by id
  // Forgets those that lost a layer, and those not among the kept that are unused since before that
  // time; their ids.
  std::vector<std::string> forget(const std::set<std::string>& kept_ids, Time unused_since) const;

  struct Entry {
    std::string layer;
    LayerFacts facts;
    Time used;
  };
  std::vector<Entry> list() const;  // by name
  // Takes layers away that are not among these, the longest unused first, until all together have
  // at most so many bytes and none is unused since before that time.
  struct Pruned {
    std::vector<std::string> directories;  // of take_away
    std::int64_t bytes = 0;
  };
  Pruned prune(const std::set<std::string>& kept, std::int64_t max_bytes, Time unused_since) const;
  std::optional<std::string> log(const std::string& layer) const;

 private:
  std::string record_of(const ImageSpec& spec) const;

  const std::string layers_, images_;
};

}  // namespace ember
