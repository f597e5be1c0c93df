#include "control/schedule_service.h"
#include "gateway/api.h"

namespace ember {
namespace {

void pause(const ApiRequest& request, Pausing pausing, const Reply& reply) {
  request.control.schedules().pause(request.parameters[0], request.parameters[1], pausing,
                                    answer_to(reply));
}

}  // namespace

void handle_schedules(ApiRequest& request, Reply reply) {
  request.control.schedules().list(answer_to(reply));
}

void handle_run_schedule(ApiRequest& request, Reply reply) {
  request.control.schedules().run(request.parameters[0], request.parameters[1], request.key,
                                  [reply](const StartedCall& started, Acceptance acceptance) {
                                    reply.send(spawned_response(started, acceptance));
                                  });
}

void handle_pause_schedule(ApiRequest& request, Reply reply) {
  pause(request, Pausing::pause, reply);
}

void handle_resume_schedule(ApiRequest& request, Reply reply) {
  pause(request, Pausing::resume, reply);
}

}  // namespace ember
