# For openzipkin/zipkin-mysql: MariaDB with Zipkin's schema, its database, user and password as in that image.
FROM spangate-standin/debian
RUN apt-get update \
    && apt-get install --yes --no-install-recommends mariadb-server \
    && rm -rf /var/lib/apt/lists/*
COPY mysql.sql /mysql.sql
RUN install -d -o mysql /run/mysqld && { mariadbd --user=mysql --skip-networking & } \
    && until mariadb-admin --silent ping; do sleep 0.2; done \
    && mariadb -e "CREATE DATABASE zipkin; GRANT ALL ON zipkin.* TO zipkin@'%' IDENTIFIED BY 'zipkin'" \
    && mariadb zipkin </mysql.sql \
    && mariadb-admin shutdown && wait
RUN printf '#!/bin/sh\nexec mariadb -h 127.0.0.1 -u zipkin -pzipkin -e "SELECT 1" zipkin\n' >/usr/local/bin/docker-healthcheck \
    && chmod +x /usr/local/bin/docker-healthcheck
EXPOSE 3306
ENTRYPOINT ["mariadbd", "--user=mysql", "--bind-address=0.0.0.0"]
