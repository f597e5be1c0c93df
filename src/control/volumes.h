// Volumes, live: what they are (VolumeCatalog), where their bytes lie (VolumeBlobs, layers), and
// how they change. A change is a layer on top of the newest version, made off the loop, durable
// before the version that has it is recorded; changes of one volume come one after the other, so
// that of two writers of a file the later one wins, and what only one of them wrote stays.
//
// A server that is killed anywhere leaves the version before whole: what no version has is removed
// at the next start.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "billing/price_book.h"
#include "control/app_catalog.h"
#include "control/background.h"
#include "control/engine_driver.h"
#include "control/id_source.h"
#include "control/volume_catalog.h"
#include "control/volume_drafts.h"
#include "control/volume_layer.h"
#include "control/volume_service.h"

namespace ember {

class Volumes final : public VolumeService {
 public:
  struct Published {
    std::uint32_t version = 0;
    bool is_new = false;
  };
  // Makes the changes, off the loop.
  using Make = std::function<Result<>(LayerBuilder& builder)>;
  using OnPublished = std::function<void(Result<Published>)>;

  Volumes(boost::asio::io_context& loop, EngineDriver& driver, Store& store, AppCatalog& apps,
          IdSource& ids, const PriceBook& prices, std::string directory);

  Result<> prepare(const Snapshot& snapshot);

  VolumeCatalog& catalog() { return catalog_; }
  VolumeBlobs& blobs() { return blobs_; }
  Background& background() { return background_; }

  // Makes Ember's own volume, unless it is there.
  void ensure_checkpoints();
  void publish(VolumeId volume, std::string message, ContainerId container, Make make,
               OnPublished done);
  // What all of them store goes into the ledger, but for the last minute, before what is asked of
  // the store next.
  void bill();
  // Removes what no version has and nobody holds.
  void sweep();

  // --- VolumeService ---
  std::string list() override { return catalog_.list_json(); }
  Result<std::string> show(std::string_view volume) override;
  Result<std::string> history(std::string_view volume) override;
  void create(std::string request_json, Done done) override;
  void remove(std::string volume, Done done) override;
  void rollback(std::string volume, std::uint32_t version, Done done) override;
  Result<> heartbeat(std::string_view volume) override;
  void tree(VolumeListing listing, Done done) override;
  void read(VolumeRange range, Done done) override;
  void needs(std::string volume, std::string files, Done done) override;
  void commit(std::string volume, std::string changes, Done done) override;
  void put_files(std::string batch, Done done) override;
  void begin_file(std::string id, std::int64_t size_bytes, std::string digests, Done done) override;
  void put_chunk(std::string id, std::int64_t index, std::string bytes, Done done) override;
  void begin_draft(std::string name, std::int64_t size_bytes, Done done) override;
  void put_draft_chunk(std::string name, std::int64_t index, std::string bytes, Done done) override;
  void finish_draft(std::string name, Done done) override;

 private:
  struct Job {
    std::string message;
    ContainerId container;
    Make make;  // null: the layers of `restored` again
    std::uint32_t restored = 0;
    OnPublished done;
  };
  struct Made {
    LayerBuilder::Change change;
  };
  // Work on a tree off the loop; its layers are held meanwhile.
  template <class Work, class Then>
  void with_tree(const VolumeVersionRecord& version, Work work, Then then);

  void enqueue(VolumeId volume, Job job);
  void run_next(VolumeId volume);
  void record(VolumeId volume, Job job, VolumeVersionRecord version);
  void finish(VolumeId volume, Job job, Result<Published> result);
  void forget_old(Volume& volume);
  bool is_pinned(const std::string& volume, std::uint32_t version) const;
  void merge_if_deep(Volume& volume);
  void merge(VolumeId volume, const LayerNames& layers, std::size_t first);
  void replace_layers(VolumeId volume, const LayerNames& before, const LayerNames& after);
  void sweep_again();
  void bill_again();
  // Records that bill the volume from when it was billed last; taken back where the store has not
  // taken them.
  struct Bill {
    Batch batch;
    Time before, until;
  };
  Bill billed_until_now(Volume& volume);
  void take_back(VolumeId volume, Time before, Time until);
  void check_leases();
  std::string next_layer_name();

  EngineDriver& driver_;
  Store& store_;
  AppCatalog& apps_;
  IdSource& ids_;
  const PriceBook& prices_;
  VolumeBlobs blobs_;
  VolumeDrafts drafts_{blobs_};
  VolumeCatalog catalog_;
  std::map<VolumeId, std::deque<Job>> jobs_;  // the front one runs
  Background background_;                     // ends before what its threads work on
};

template <class Work, class Then>
void Volumes::with_tree(const VolumeVersionRecord& version, Work work, Then then) {
  const LayerNames layers = split_layers(version.layers);
  catalog_.hold(layers);
  background_.run(
      [this, layers, work = std::move(work)] {
        auto tree = VolumeTree::open(blobs_.root(), layers);
        return tree ? work(*tree) : decltype(work(*tree))(std::move(tree).error());
      },
      [this, layers, then = std::move(then)](auto result) mutable {
        catalog_.let_go(layers);
        then(std::move(result));
      });
}

}  // namespace ember
