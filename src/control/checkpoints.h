// What calls leave for their next attempt. Containers of a function with checkpoints mount a
// directory of one volume of Ember's own, APP/FUNCTION of kCheckpointsVolume; in it each call has a
// directory by its id, in which python/ember/_checkpoint.py keeps the newest whole checkpoint.
//
// A call's directory goes with the call: at once where it ends well, is cancelled or was never on
// disk, else with its record, so that running it again goes on where it was.
#pragma once

#include <functional>
#include <string>

#include "control/background.h"
#include "control/call_table.h"
#include "control/engine_driver.h"
#include "control/volumes.h"
#include "store/store.h"

namespace ember {

// Where a container of the function sees those of its calls.
VolumeMount checkpoint_mount(const Function& function);

class Checkpoints {
 public:
  Checkpoints(EngineDriver& driver, const CallTable& calls, Volumes& volumes, Store& store,
              Background& background)
      : driver_(driver), calls_(calls), volumes_(volumes), store_(store), background_(background) {}

  // Looks now and then for what is left of calls that are not there any more.
  void begin();
  void call_ended(const FinishedCall& call, Bond bond);
  // What an ended call has left is there for another one too, which is to go on with it.
  void hand_on(const Function& function, CallId from, CallId to, std::function<void()> then);

 private:
  void look();
  void look_at(const std::string& directory, CallId call);
  void remove(const std::string& directory);

  EngineDriver& driver_;
  const CallTable& calls_;
  Volumes& volumes_;
  Store& store_;
  Background& background_;
};

}  // namespace ember
