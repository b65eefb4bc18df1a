# For openzipkin/zipkin: the server's jar, with the memory, the user and the health check that the image gives it.
FROM spangate-standin/debian
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless wget \
    && rm -rf /var/lib/apt/lists/*
COPY zipkin.jar /zipkin.jar
RUN printf '#!/bin/sh\nexec wget -q -O /dev/null http://127.0.0.1:9411/health\n' >/usr/local/bin/docker-healthcheck \
    && chmod +x /usr/local/bin/docker-healthcheck
USER nobody
EXPOSE 9410 9411
ENTRYPOINT ["java", "-Xms96m", "-Xmx96m", "-XX:+ExitOnOutOfMemoryError", "-jar", "/zipkin.jar"]
